/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Child processes; see exec_linux.h.  A detached program is forked twice, so
 * that init reaps it and nothing depends on our own life.  Between fork and exec only
 * async-signal-safe calls are made, for we have threads.
 */
#include "clusterd/exec_linux.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "common/cl_cleanup.h"
#include "common/cl_types.h"

static long now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000L + ts.tv_nsec / 1000000L;
}

/* In the child: default signals, nothing but 0, 1, 2 open. */
static void child_clean(void)
{
	sigset_t none;

	for (int sig = 1; sig < 32; sig++)
		signal(sig, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

/* 0, 1, 2; then what is passed (2 or NULL), then err_fd, which is closed by exec; -1: none of it. */
static int fds_place(int in, int out, const int *pass_fds, int err_fd)
{
	int n = 3, pass[2] = { -1, -1 };

	/* Out of the way of the numbers that are given out. */
	in = fcntl(in, F_DUPFD, 16);
	out = fcntl(out, F_DUPFD, 16);
	for (int i = 0; pass_fds && i < 2; i++)
		pass[i] = pass_fds[i] < 0 ? -1 : fcntl(pass_fds[i], F_DUPFD, 16);
	err_fd = err_fd < 0 ? -1 : fcntl(err_fd, F_DUPFD, 16);
	dup2(in, 0);
	dup2(out, 1);
	dup2(out, 2);
	for (int i = 0; i < 2; i++)
		if (pass[i] >= 0)
			dup2(pass[i], n++);
	if (err_fd >= 0) {
		dup2(err_fd, n);
		fcntl(n, F_SETFD, FD_CLOEXEC);
		err_fd = n++;
	}
	syscall(SYS_close_range, (unsigned)n, ~0u, 0u);
	return err_fd;
}

static void output_drain(int fd, char *out, size_t cap_bytes, size_t *len)
{
	char buf[1024];
	ssize_t n = read(fd, buf, sizeof(buf));

	for (ssize_t i = 0; i < n; i++)
		if (*len + 1 < cap_bytes)
			out[(*len)++] = buf[i];
}

/* Reads until the end of the output or the time; true if in time. */
static bool output_read(int fd, long end_ms, char *out, size_t cap_bytes)
{
	size_t len = 0;

	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		long left = end_ms - now_ms();
		int n = left > 0 ? poll(&pfd, 1, (int)left) : 0;

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		if (!(pfd.revents & POLLIN))
			return true;
		output_drain(fd, out, cap_bytes, &len);
		if (cap_bytes)
			out[len] = '\0';
	}
}

int cd_exec_run(const char *const argv[], int timeout_ms, char *out, size_t cap_bytes)
{
	CL_CLEANUP_CLOSE int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	CL_CLEANUP_CLOSE int read_fd = -1;
	long end = now_ms() + timeout_ms;
	int fds[2], status;
	bool timely;
	pid_t pid;

	if (cap_bytes)
		out[0] = '\0';
	if (null_fd < 0 || pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	read_fd = fds[0];
	pid = fork();
	if (pid < 0) {
		close(fds[1]);
		return -errno;
	}
	if (pid == 0) {
		setsid();
		child_clean();
		(void)fds_place(null_fd, fds[1], NULL, -1);
		execvp(argv[0], (char *const *)argv);
		_exit(127);
	}
	close(fds[1]);
	timely = output_read(read_fd, end, out, cap_bytes);
	/* A daemon that it started may keep the pipe open: then its own exit decides. */
	for (;;) {
		pid_t got = waitpid(pid, &status, timely ? 0 : WNOHANG);

		if (got < 0 && errno == EINTR)
			continue;
		if (got == 0) {
			kill(-pid, SIGKILL);
			kill(pid, SIGKILL);
			waitpid(pid, &status, 0);
			return -ETIMEDOUT;
		}
		if (got < 0)
			return -errno;
		break;
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* Where cgroup v2 is mounted: alone, or beside version 1. -EOPNOTSUPP: nowhere. */
static int cgroup_root(const char **ret_root)
{
	static const char *const roots[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified" };
	struct statfs st;

	for (unsigned i = 0; i < CL_ARRAY_LEN(roots); i++) {
		*ret_root = roots[i];
		if (statfs(roots[i], &st) < 0) {
			if (errno != ENOENT)
				return -errno;
		} else if (st.f_type == CGROUP2_SUPER_MAGIC) {
			return 0;
		}
	}
	return -EOPNOTSUPP;
}

static int cgroup_own(char *out, size_t cap_bytes)
{
	const char *root;
	FILE *file;
	char line[512];
	int rc = cgroup_root(&root);

	if (rc < 0)
		return rc;
	file = fopen("/proc/self/cgroup", "re");
	if (!file)
		return -errno;
	rc = -EOPNOTSUPP;
	while (fgets(line, sizeof(line), file)) {
		line[strcspn(line, "\n")] = '\0';
		if (strncmp(line, "0::/", 4) == 0) {
			snprintf(out, cap_bytes, "%s%s", root, line + 3);
			rc = 0;
		}
	}
	if (ferror(file))
		rc = -EIO;
	fclose(file);
	return rc;
}

int cd_exec_cgroup_path(const char *name, char *out, size_t cap_bytes)
{
	char base[600];
	int rc = cgroup_own(base, sizeof(base));

	out[0] = '\0';
	if (rc < 0)
		return rc;
	if (snprintf(out, cap_bytes, "%s%sholdfast-%s", base,
		     base[strlen(base) - 1] == '/' ? "" : "/", name) >= (int)cap_bytes) {
		out[0] = '\0';
		return -ENAMETOOLONG;
	}
	return 0;
}

/*
 * An fd of its cgroup.procs, or -1.  Best effort: a host without cgroup v2 or without delegation
 * loses the accounting and a witness of what runs.
 */
static int cgroup_open(const char *name)
{
	char path[800];

	if (!name || cd_exec_cgroup_path(name, path, sizeof(path) - 16) < 0)
		return -1;
	if (mkdir(path, 0755) < 0 && errno != EEXIST)
		return -1;
	strcat(path, "/cgroup.procs");
	return open(path, O_WRONLY | O_CLOEXEC);
}

/* What the one who waits for the start is told, by either process on the way. */
struct word {
	pid_t pid; /* of the program, or 0 */
	int err;   /* why it did not start, or 0 */
};

static void word_send(int fd, pid_t pid, int err)
{
	const struct word w = { pid, err };

	if (write(fd, &w, sizeof(w)) < 0)
		_exit(126);
}

/* Best effort: where it cannot be set, another's memory is as good. */
static void oom_score(int adj)
{
	char text[8], *p = text + sizeof(text);
	int n = adj < 0 ? -adj : adj, fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	do
		*--p = (char)('0' + n % 10);
	while ((n /= 10) && p > text + 1);
	if (adj < 0)
		*--p = '-';
	if (fd >= 0)
		(void)!write(fd, p, (size_t)(text + sizeof(text) - p));
	if (fd >= 0)
		close(fd);
}

static void spawn_child(const struct cd_exec *e, int null_fd, int cgroup_fd, int err_fd)
{
	pid_t pid;

	setsid();
	if (e->own_pids && unshare(CLONE_NEWPID) < 0) {
		word_send(err_fd, 0, errno);
		_exit(126);
	}
	pid = fork();
	if (pid != 0) {
		word_send(err_fd, pid < 0 ? 0 : pid, pid < 0 ? errno : 0);
		_exit(0);
	}
	setsid();
	child_clean();
	oom_score(e->oom_score_adj);
	/* Itself, before exec: nothing of the program is ever outside. */
	if (cgroup_fd >= 0)
		(void)!write(cgroup_fd, "0", 1);
	err_fd = fds_place(null_fd, e->log_fd, e->pass_fds, err_fd);
	execvp(e->argv[0], (char *const *)e->argv);
	word_send(err_fd, 0, errno);
	_exit(127);
}

int cd_exec_log(const char *path)
{
	CL_CLEANUP_CLOSE int fd =
		open(path,
		     O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC,
		     0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? cl_steal_fd(&fd) : -EPERM;
}

int cd_exec_spawn(const struct cd_exec *e, pid_t *ret_pid)
{
	CL_CLEANUP_CLOSE int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	CL_CLEANUP_CLOSE int cgroup_fd = cgroup_open(e->cgroup);
	CL_CLEANUP_CLOSE int read_fd = -1;
	struct word w;
	int fds[2], status, err = 0;
	pid_t pid, started = 0;
	ssize_t n;

	if (null_fd < 0 || pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	read_fd = fds[0];
	pid = fork();
	if (pid < 0) {
		close(fds[1]);
		return -errno;
	}
	if (pid == 0)
		spawn_child(e, null_fd, cgroup_fd, fds[1]);
	close(fds[1]);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	/* Until exec, or the end of who did not come so far, has closed the pipe. */
	while ((n = read(read_fd, &w, sizeof(w))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n != sizeof(w))
			return -EIO;
		started = w.pid ? w.pid : started;
		err = w.err ? w.err : err;
	}
	if (err || !started)
		return err ? -err : -EIO;
	*ret_pid = started;
	return 0;
}

int cd_exec_look(pid_t pid, const char *name)
{
	char path[64], exe[512], *base;
	ssize_t n;

	if (pid <= 1)
		return 0;
	snprintf(path, sizeof(path), "/proc/%d/exe", pid);
	n = readlink(path, exe, sizeof(exe) - 1);
	if (n < 0)
		return errno == ENOENT || errno == ESRCH ? 0 : -errno; /* gone, or the kernel's */
	exe[n] = '\0';
	/* An upgrade leaves "PATH (deleted)" behind. */
	if (n > 10 && strcmp(exe + n - 10, " (deleted)") == 0)
		exe[n - 10] = '\0';
	base = strrchr(exe, '/');
	return strcmp(base ? base + 1 : exe, name) == 0;
}

uint64_t cd_exec_start(pid_t pid)
{
	char path[64], text[1024], *at;
	CL_CLEANUP_CLOSE int fd = -1;
	unsigned long long start = 0;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return 0;
	text[n] = '\0';
	/* Behind the name, which may hold anything: state is field 3, starttime 22 (proc(5)). */
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at && sscanf(at, " %llu", &start) == 1 ? start : 0;
}

static int pid_open(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0u);

	return fd < 0 ? -errno : fd;
}

int cd_exec_kill_started(pid_t pid, uint64_t start)
{
	CL_CLEANUP_CLOSE int fd = pid_open(pid);

	if (fd < 0)
		return fd;
	if (!start || cd_exec_start(pid) != start)
		return -ESRCH;
	return syscall(SYS_pidfd_send_signal, fd, SIGKILL, NULL, 0u) < 0 ? -errno : 0;
}
