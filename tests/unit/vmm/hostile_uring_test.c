/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hostile vmm and its ring.  A guest has taken the process over; it has the ring that the disks
 * use, and io_uring's operations pass by the system call filter.  The ring does what disks need and
 * nothing else.
 */
#include "vmm/disk_uring.c" /* the vmm's memory is the attacker's: so is what is private in it */

#include "tests/unit/unit.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "vmm/sandbox.h"

#define OTHER_ID 54321

static char top[] = "/tmp/hf-hostile-XXXXXX";
static struct io_uring *own;

static int did(struct io_uring_sqe *sqe)
{
	struct io_uring_cqe *cqe;
	int res;

	sqe->user_data = 1;
	if (io_uring_submit(own) != 1 || io_uring_wait_cqe(own, &cqe))
		return -ENOANO;
	res = cqe->res;
	io_uring_cqe_seen(own, cqe);
	return res;
}

static struct io_uring_sqe *sqe(void)
{
	return io_uring_get_sqe(own);
}

static int link_made(void)
{
	struct io_uring_sqe *s = sqe();

	io_uring_prep_symlinkat(s, "/root/.ssh/authorized_keys", AT_FDCWD, "planted");
	return did(s);
}

static int folder_made(void)
{
	struct io_uring_sqe *s = sqe();

	io_uring_prep_mkdirat(s, AT_FDCWD, "vmm.log.1", 0700);
	return did(s);
}

static int removed(void)
{
	struct io_uring_sqe *s = sqe();

	io_uring_prep_unlinkat(s, AT_FDCWD, "mine", 0);
	return did(s);
}

static int renamed(void)
{
	struct io_uring_sqe *s = sqe();

	io_uring_prep_renameat(s, AT_FDCWD, "mine", AT_FDCWD, "other", 0);
	return did(s);
}

static int opened(void)
{
	struct io_uring_sqe *s = sqe();

	io_uring_prep_openat(s, AT_FDCWD, "mine", O_RDONLY, 0);
	return did(s);
}

static int socket_made(void)
{
	struct io_uring_sqe *s = sqe();

	io_uring_prep_socket(s, AF_NETLINK, SOCK_RAW, 0, 0);
	return did(s);
}

static int connected(void)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX, .sun_path = "csv.sock" };
	struct io_uring_sqe *s = sqe();

	io_uring_prep_connect(s, 0, (struct sockaddr *)&to, sizeof(to));
	return did(s);
}

static int sent(void)
{
	struct io_uring_sqe *s = sqe();

	io_uring_prep_send(s, 0, "x", 1, 0);
	return did(s);
}

/* A flag of a permitted operation: one that runs after another, or on a registered file. */
static int flagged(void)
{
	static struct iovec iov = { top, 1 };
	struct io_uring_sqe *s = sqe();

	io_uring_prep_readv(s, 0, &iov, 1, 0);
	s->flags = IOSQE_ASYNC;
	return did(s);
}

static int registered(void)
{
	return syscall(SYS_io_uring_register, own->ring_fd, IORING_REGISTER_PERSONALITY, NULL, 0) <
			       0
		       ? -errno
		       : 0;
}

static const struct {
	const char *what;
	int (*deed)(void);
} deeds[] = {
	{ "symlink", link_made },   { "mkdir", folder_made }, { "unlink", removed },
	{ "rename", renamed },	    { "open", opened },	      { "socket", socket_made },
	{ "connect", connected },   { "send", sent },	      { "a flag", flagged },
	{ "register", registered },
};

/* In a child: the ring as the vmm makes it, as root; then the VM's user. */
static int hostile(bool filter, int (*what)(void))
{
	pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
	uid_t uid = geteuid() ? geteuid() : OTHER_ID;
	struct vmm_uring *ring = NULL;
	struct vmm_io *io = NULL;
	int status = -1;
	pid_t pid = fork();

	if (pid == 0) {
		char *error = NULL;
		int r;

		if (vmm_io_new(&lock, &io) < 0)
			_exit(90);
		r = vmm_uring_new(io, &ring);
		if (r < 0)
			_exit(91);
		own = &ring->ring;
		if (vmm_sandbox_user(uid, geteuid() ? getegid() : OTHER_ID, &error) < 0)
			_exit(92);
		if (chdir(top) < 0)
			_exit(95);
		if (filter && vmm_sandbox_filter(VMM_THREAD_IO, &error) < 0)
			_exit(93);
		r = what();
		if (r == -ENOSYS)
			_exit(94);
		_exit(r == -EACCES || r == -EPERM ? 0 : r < 0 ? 2 : 1);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	return status;
}

static int reads(void)
{
	char text[8] = "";
	struct iovec iov = { text, 4 };
	int fd = (int)(intptr_t)open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	struct io_uring_sqe *s = sqe();

	io_uring_prep_readv(s, fd, &iov, 1, 0);
	/* As hostile() reads it: "refused" is 0, so what works says so. */
	return did(s) == 4 ? -EACCES : 1;
}

static bool usable(void)
{
	int status = hostile(false, reads);

	if (WIFEXITED(status) && WEXITSTATUS(status) == 91) {
		(void)printf("skipped: this kernel gives no io_uring\n");
		return false;
	}
	CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	return true;
}

static void only_what_disks_need(void)
{
	if (!usable())
		return;
	for (size_t i = 0; i < CL_ARRAY_LEN(deeds); i++) {
		int status = hostile(false, deeds[i].deed);

		if (!WIFEXITED(status) || WEXITSTATUS(status))
			(void)printf("%s: status %#x\n", deeds[i].what, (unsigned)status);
		CU_ASSERT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	}
}

static int another_ring(void)
{
	struct io_uring_params p = { 0 };

	return (int)syscall(SYS_io_uring_setup, 8, &p);
}

static void no_other_ring(void)
{
	int (*const calls[])(void) = { another_ring, registered };

#if !defined(__SANITIZE_ADDRESS__)
	for (size_t i = 0; i < CL_ARRAY_LEN(calls); i++) {
		int status = hostile(true, calls[i]);

		CU_ASSERT(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
	}
#endif
	(void)calls;
}

static void nothing_happened(void)
{
	char path[80];

	snprintf(path, sizeof(path), "%s/mine", top);
	CU_ASSERT_EQUAL(unlink(path), 0);
	CU_ASSERT_EQUAL(rmdir(top), 0); /* is empty */
}

static void begin(void)
{
	char path[80];
	int fd;

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(top));
	snprintf(path, sizeof(path), "%s/mine", top);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
	CU_ASSERT(fd >= 0);
	close(fd);
	/* The folder is the attacker's own: what refuses is the ring, not its permissions. */
	if (geteuid() == 0)
		CU_ASSERT_EQUAL(chown(top, OTHER_ID, OTHER_ID) | chown(path, OTHER_ID, OTHER_ID),
				0);
}

UNIT_MAIN("hostile vmm: the ring", { "begin", begin },
	  { "only what disks need", only_what_disks_need }, { "no other ring", no_other_ring },
	  { "nothing happened", nothing_happened })
