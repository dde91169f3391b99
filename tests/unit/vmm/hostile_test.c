/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The hostile vmm.  A guest has taken its vmm over and calls what it likes.  Each deed is tried by
 * a process that is confined as a vmm is, but without its system-call filter (sandbox_test,
 * hostile_uring_test): what user and namespaces refuse, they refuse alone.  And each is tried by
 * one that has the VM's user and nothing else, for most of them succeed then: so the test sees a
 * hole when there is one.  Needs root.
 */
#include "vmm/rundir.h"
#include "vmm/sandbox.h"
#include "tests/unit/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define VM_ID	 64078
#define REFUSED	 0
#define DONE	 1
#define N(array) (sizeof(array) / sizeof((array)[0]))

/* Names in a run folder: what is opened in it by root, now or at the next start. */
static const char *const names[] = { "lock",	   "config.json",  "control.sock", "serial.sock",
				     "serial.log", "console.sock", "vmm.log",	   "vmm.log.1",
				     "vmm.pid",	   "tunnel.log" };

static char top[] = "/tmp/hf-hostile-XXXXXX", run[64], own[80], other[96], csv[80], secret[80];
static struct sockaddr_in csvd_port, san_port;
static int csvd_fd, san_fd, other_fd, abstract_fd, csv_fd;
static pid_t neighbour;
static key_t shm_key;

/* ---- the world around it -------------------------------------------------------------------- */

static int unix_listen(const char *path, mode_t mode)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	CU_ASSERT_EQUAL(chmod(path, mode) | listen(fd, 8), 0);
	return fd;
}

static socklen_t abstract_name(struct sockaddr_un *a)
{
	*a = (struct sockaddr_un){ .sun_family = AF_UNIX };
	snprintf(a->sun_path + 1, sizeof(a->sun_path) - 1, "hf%.80s",
		 top); /* unique, as the folder is */
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(a->sun_path + 1));
}

static int tcp_listen(struct sockaddr_in *ret)
{
	socklen_t len = sizeof(*ret);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*ret = (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	CU_ASSERT_EQUAL_FATAL(bind(fd, (struct sockaddr *)ret, sizeof(*ret)), 0);
	CU_ASSERT_EQUAL(listen(fd, 8) | getsockname(fd, (struct sockaddr *)ret, &len), 0);
	return fd;
}

static void file_make(const char *path, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	CU_ASSERT_FATAL(fd >= 0);
	CU_ASSERT_EQUAL(write(fd, "precious", 8), 8);
	CU_ASSERT_EQUAL(fchmod(fd, mode) | close(fd), 0);
}

static void begin(void)
{
	char path[128];

	CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(top));
	snprintf(run, sizeof(run), "%s/run", top);
	snprintf(own, sizeof(own), "%s/vm/a", run);
	snprintf(other, sizeof(other), "%s/vm/b/control.sock", run);
	snprintf(csv, sizeof(csv), "%s/csv.sock", run);
	snprintf(secret, sizeof(secret), "%s/world", top);
	CU_ASSERT_EQUAL(chmod(top, 0711) | mkdir(run, 0755), 0);
	snprintf(path, sizeof(path), "%s/vm", run);
	CU_ASSERT_EQUAL(mkdir(path, 0711) | mkdir(own, 0700), 0);
	snprintf(path, sizeof(path), "%s/vm/b", run);
	CU_ASSERT_EQUAL(mkdir(path, 0700), 0);
	file_make(secret,
		  0666); /* that anybody may read and write: what hides it is the root folder */
	other_fd = unix_listen(other, 0600);
	csv_fd = unix_listen(csv, 0666);
	csvd_fd = tcp_listen(&csvd_port);
	san_fd = tcp_listen(&san_port);
	neighbour = fork();
	if (neighbour == 0) {
		/* Another VM's process, as bad luck has it of the same user. */
		if (setgid(VM_ID) < 0 || setuid(VM_ID) < 0)
			_exit(1);
		for (;;)
			pause();
	}
}

/* ---- deeds: REFUSED or DONE ----------------------------------------------------------------- */

static int to_unix(const char *path)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	return connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, sizeof(a)) == 0
		       ? DONE
		       : REFUSED;
}

static int to_tcp(const struct sockaddr_in *to)
{
	return connect(socket(AF_INET, SOCK_STREAM, 0), (const struct sockaddr *)to, sizeof(*to)) ==
			       0
		       ? DONE
		       : REFUSED;
}

static int to_csvd(void)
{
	return to_tcp(&csvd_port);
}

static int to_san(void)
{
	return to_tcp(&san_port);
}

static int to_other_vm(void)
{
	return to_unix(other);
}

static int to_abstract(void)
{
	struct sockaddr_un a;
	socklen_t len = abstract_name(&a);

	return connect(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&a, len) == 0 ? DONE
											 : REFUSED;
}

static int reads_host(void)
{
	return open("/etc/passwd", O_RDONLY) >= 0 ? DONE : REFUSED;
}

static int writes_host(void)
{
	int fd = open(secret, O_RDWR);

	return fd >= 0 && write(fd, "x", 1) == 1 && pwrite(fd, "p", 1, 0) == 1 ? DONE : REFUSED;
}

static int makes_file(void)
{
	return open("/tmp/hf-hostile-file", O_WRONLY | O_CREAT, 0600) >= 0 &&
			       unlink("/tmp/hf-hostile-file") == 0
		       ? DONE
		       : REFUSED;
}

static int sees_processes(void)
{
	return access("/proc/1/status", F_OK) == 0 || access("/proc/self/status", F_OK) == 0
		       ? DONE
		       : REFUSED;
}

static int signals_neighbour(void)
{
	return kill(neighbour, 0) == 0 ? DONE : REFUSED;
}

/* Of the same user and of mode 0600: IPC has no other wall than the namespace. */
static int shares_memory(void)
{
	return shmget(shm_key, 4096, 0600) >= 0 ? DONE : REFUSED;
}

static int becomes_root(void)
{
	return setuid(0) == 0 || unshare(CLONE_NEWUTS) == 0 || mknod("/x", S_IFBLK, 0x800) == 0
		       ? DONE
		       : REFUSED;
}

/* Links, folders and pipes under every name of its run folder. */
static int plants(void)
{
	char path[160];

	for (size_t i = 0; i < N(names); i++) {
		snprintf(path, sizeof(path), "%s/%s", own, names[i]);
		(void)unlink(path);
		if (symlink(secret, path) == 0 || mkdir(path, 0700) == 0 ||
		    mkfifo(path, 0600) == 0 || rename(path, own) == 0)
			return DONE;
	}
	return REFUSED;
}

static int plants_beside(void)
{
	char path[160];

	snprintf(path, sizeof(path), "%s/vm/c", run);
	if (mkdir(path, 0700) == 0 || symlink("/etc", path) == 0)
		return DONE;
	snprintf(path, sizeof(path), "%s/vm", run);
	return rename(own, path) == 0 || rmdir(own) == 0 || unlink(csv) == 0 ||
			       chmod(own, 0777) == 0
		       ? DONE
		       : REFUSED;
}

/* The run folder is open in a vmm: a descriptor of it is no way into it either. */
static struct vmm_rundir dir = VMM_RUNDIR_NONE;

static int plants_by_descriptor(void)
{
	for (size_t i = 0; i < N(names); i++)
		if (unlinkat(dir.fd, names[i], 0) == 0 ||
		    symlinkat(secret, dir.fd, names[i]) == 0 ||
		    mkdirat(dir.fd, names[i], 0700) == 0)
			return DONE;
	return openat(dir.fd, "config.json", O_RDONLY) >= 0 ||
			       openat(dir.fd, "../..", O_PATH) >= 0 || fchdir(dir.fd) == 0 ||
			       fchmod(dir.fd, 0777) == 0 || ftruncate(dir.fd, 0) == 0
		       ? DONE
		       : REFUSED;
}

/* ---- who does them -------------------------------------------------------------------------- */

struct deed {
	const char *what;
	int (*run)(void);
	bool by_user; /* the user alone refuses it, too */
};

static const struct deed deeds[] = {
	{ "connect to csvd's port", to_csvd, false },
	{ "connect to the SAN's port", to_san, false },
	{ "connect to another VM's socket", to_other_vm, true },
	{ "connect to an abstract socket", to_abstract, false },
	{ "read a file of the host", reads_host, false },
	{ "write a file of the host", writes_host, false },
	{ "make a file on the host", makes_file, false },
	{ "see processes", sees_processes, false },
	{ "signal a neighbour", signals_neighbour, false },
	{ "another's shared memory", shares_memory, false },
	{ "become root", becomes_root, true },
	{ "plant in the run folder", plants, true },
	{ "plant beside the run folder", plants_beside, true },
	{ "plant by the run folder's descriptor", plants_by_descriptor, true },
};

static int inside(bool confined, int (*what)(void))
{
	char *error = NULL;

	if (vmm_rundir_open(own, &dir, &error) < 0)
		return 90;
	if (confined && vmm_sandbox_namespaces(run, false, &error) < 0)
		return 91;
	if (vmm_sandbox_user(VM_ID, VM_ID, &error) < 0)
		return 92;
	return what();
}

/* As clusterd starts one: in a PID namespace, whose first process it is. */
static int outcome(bool confined, int (*what)(void))
{
	pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		pid_t vmm;

		if (confined && unshare(CLONE_NEWPID) < 0)
			_exit(93);
		vmm = fork();
		if (vmm == 0)
			_exit(inside(confined, what));
		(void)waitpid(vmm, &status, 0);
		_exit(WIFEXITED(status) ? WEXITSTATUS(status) : 94);
	}
	CU_ASSERT_EQUAL(waitpid(pid, &status, 0), pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 95;
}

static bool knocked(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	bool any = false;

	while (poll(&p, 1, 0) > 0) {
		close(accept(fd, NULL, NULL));
		any = true;
	}
	return any;
}

static void contained(void)
{
	for (size_t i = 0; i < N(deeds); i++) {
		int got = outcome(true, deeds[i].run);

		if (got != REFUSED)
			(void)printf("a confined vmm could %s (%d)\n", deeds[i].what, got);
		CU_ASSERT_EQUAL(got, REFUSED);
	}
	CU_ASSERT(!knocked(csvd_fd) && !knocked(san_fd) && !knocked(other_fd) &&
		  !knocked(abstract_fd));
}

/* Else it would prove nothing that they are refused. */
static void deeds_can_be_done(void)
{
	for (size_t i = 0; i < N(deeds); i++) {
		int got = outcome(false, deeds[i].run);

		if (got != (deeds[i].by_user ? REFUSED : DONE))
			(void)printf("the VM's user alone: %s: %d\n", deeds[i].what, got);
		CU_ASSERT_EQUAL(got, deeds[i].by_user ? REFUSED : DONE);
	}
	CU_ASSERT(knocked(csvd_fd) && knocked(san_fd) && knocked(abstract_fd));
	CU_ASSERT(!knocked(other_fd));
}

static int finds_csvd(void)
{
	return to_unix(csv);
}

/* What a vmm does need: libcsv finds a csvd that was started anew. */
static void csvd_is_found(void)
{
	CU_ASSERT_EQUAL(outcome(true, finds_csvd), DONE);
	CU_ASSERT(knocked(csv_fd));
}

static void all_is_whole(void)
{
	struct stat st;

	CU_ASSERT(lstat(secret, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 8);
	CU_ASSERT(lstat(own, &st) == 0 && st.st_uid == 0 && (st.st_mode & 07777) == 0700);
	CU_ASSERT(lstat(csv, &st) == 0 && S_ISSOCK(st.st_mode));
}

static void begin_ipc(void)
{
	struct sockaddr_un a;
	socklen_t len = abstract_name(&a);
	struct shmid_ds ds;
	int id;

	shm_key = (key_t)(0x48460000 | (getpid() & 0xffff));
	id = shmget(shm_key, 4096, IPC_CREAT | 0600);

	abstract_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	CU_ASSERT_EQUAL(bind(abstract_fd, (struct sockaddr *)&a, len) | listen(abstract_fd, 8), 0);
	CU_ASSERT(id >= 0 && shmctl(id, IPC_STAT, &ds) == 0);
	ds.shm_perm.uid = ds.shm_perm.gid = VM_ID;
	CU_ASSERT_EQUAL(shmctl(id, IPC_SET, &ds), 0);
}

static void end(void)
{
	char command[128];
	int status;

	CU_ASSERT_EQUAL(kill(neighbour, SIGKILL), 0);
	CU_ASSERT_EQUAL(waitpid(neighbour, &status, 0), neighbour);
	CU_ASSERT_EQUAL(shmctl(shmget(shm_key, 4096, 0), IPC_RMID, NULL), 0);
	snprintf(command, sizeof(command), "rm -rf %s", top);
	CU_ASSERT_EQUAL(system(command), 0);
}

static void needs_root(void)
{
	CU_PASS("skipped: needs root");
	(void)printf("skipped: needs root\n");
}

static void all(void)
{
	if (geteuid() != 0) {
		needs_root();
		return;
	}
	begin();
	begin_ipc();
	deeds_can_be_done();
	contained();
	csvd_is_found();
	all_is_whole();
	end();
}

UNIT_MAIN("hostile vmm", { "each deed is refused, and would be done without", all })
