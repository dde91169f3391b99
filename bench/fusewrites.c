// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * fusewrites FOLDER: how many direct writes does this kernel let into a FUSE file system at once?
 *
 * Mounts one of its own on FOLDER (files a to d; a write is kept for 20 ms and thrown away), writes to it four blocks at
 * a time in three ways, and prints the most writes that it had in hand together, without and with
 * FOPEN_PARALLEL_DIRECT_WRITES.  It counts and measures no time, so that a slow machine gives the same answer.
 */
#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <unistd.h>

#define DEPTH	  4
#define WRITES	  16
#define BLOCK	  65536
#define FILE_SIZE (DEPTH * WRITES * BLOCK)
#define HOLD_US	  20000

/* As in linux/fuse.h; libfuse before 3.15 cannot say the second. */
#define OPEN_DIRECT_IO	     (1u << 0)
#define OPEN_PARALLEL_WRITES (1u << 6)

static atomic_int in_hand, most;
static uint32_t open_flags;
static uint8_t data[DEPTH][BLOCK] __attribute__((aligned(4096)));

static void stat_of(fuse_ino_t ino, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = ino;
	st->st_nlink = 1;
	st->st_mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
	st->st_size = ino == FUSE_ROOT_ID ? 0 : FILE_SIZE;
}

static void on_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	stat_of(ino, &st);
	fuse_reply_attr(req, &st, 0);
}

static void on_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { .ino = 2 + (fuse_ino_t)(name[0] - 'a') };

	stat_of(e.ino, &e.attr);
	if (name[0] < 'a' || name[0] >= 'a' + DEPTH || name[1])
		fuse_reply_err(req, ENOENT);
	else
		fuse_reply_entry(req, &e);
}

static void on_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct {
		uint64_t fh;
		uint32_t flags;
		uint32_t padding;
	} out = { .flags = open_flags };
	struct iovec v = { &out, sizeof(out) };

	fuse_reply_iov(req, &v, 1);
}

static void on_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	int now = atomic_fetch_add(&in_hand, 1) + 1, seen = most;

	while (now > seen && !atomic_compare_exchange_weak(&most, &seen, now))
		;
	usleep(HOLD_US);
	atomic_fetch_sub(&in_hand, 1);
	fuse_reply_write(req, size);
}

static void *serve(void *session)
{
	struct fuse_loop_config *config = fuse_loop_cfg_create();

	fuse_loop_cfg_set_max_threads(config, 2 * DEPTH);
	(void)fuse_session_loop_mt(session, config);
	fuse_loop_cfg_destroy(config);
	return NULL;
}

struct writer {
	int fd;
	unsigned number;
};

static void *write_some(void *arg)
{
	const struct writer *w = arg;

	for (unsigned i = 0; i < WRITES; i++)
		if (pwrite(w->fd, data[w->number], BLOCK,
			   (off_t)(i * DEPTH + w->number) * BLOCK) != BLOCK)
			perror("write");
	return NULL;
}

static void by_threads(const int *fds, unsigned n_fds)
{
	struct writer w[DEPTH];
	pthread_t t[DEPTH];

	for (unsigned i = 0; i < DEPTH; i++) {
		w[i] = (struct writer){ fds[i % n_fds], i };
		if (pthread_create(&t[i], NULL, write_some, &w[i]))
			abort();
	}
	for (unsigned i = 0; i < DEPTH; i++)
		pthread_join(t[i], NULL);
}

static void by_aio(int fd)
{
	struct iocb cb[DEPTH] = { 0 }, *list[DEPTH];
	struct io_event done[DEPTH];
	aio_context_t context = 0;

	for (unsigned i = 0; i < DEPTH; i++) {
		cb[i].aio_lio_opcode = IOCB_CMD_PWRITE;
		cb[i].aio_fildes = (uint32_t)fd;
		cb[i].aio_buf = (uint64_t)(uintptr_t)data[i];
		cb[i].aio_nbytes = BLOCK;
		cb[i].aio_offset = (int64_t)i * BLOCK;
		list[i] = &cb[i];
	}
	if (syscall(SYS_io_setup, DEPTH, &context) < 0 ||
	    syscall(SYS_io_submit, context, DEPTH, list) != DEPTH ||
	    syscall(SYS_io_getevents, context, DEPTH, DEPTH, done, NULL) != DEPTH)
		perror("aio");
	syscall(SYS_io_destroy, context);
}

static int look(const char *folder, bool parallel)
{
	int fds[DEPTH], one, four, aio;

	open_flags = OPEN_DIRECT_IO | (parallel ? OPEN_PARALLEL_WRITES : 0);
	for (unsigned i = 0; i < DEPTH; i++) {
		char path[4096];

		snprintf(path, sizeof(path), "%s/%c", folder, (int)('a' + i));
		fds[i] = open(path, O_RDWR | O_DIRECT | O_CLOEXEC);
		if (fds[i] < 0) {
			perror(path);
			return 1;
		}
	}
	by_threads(fds, 1);
	one = atomic_exchange(&most, 0);
	by_threads(fds, DEPTH);
	four = atomic_exchange(&most, 0);
	by_aio(fds[0]);
	aio = atomic_exchange(&most, 0);
	for (unsigned i = 0; i < DEPTH; i++)
		close(fds[i]);
	printf("FOPEN_PARALLEL_DIRECT_WRITES %s: most writes at once, of %d: threads into one file %d, "
	       "threads into %d files %d, asynchronous into one file %d\n",
	       parallel ? "on " : "off", DEPTH, one, DEPTH, four, aio);
	return 0;
}

int main(int argc, char **argv)
{
	static const struct fuse_lowlevel_ops ops = {
		.getattr = on_getattr, .lookup = on_lookup, .open = on_open, .write = on_write,
	};
	char *args_v[] = { argv[0], NULL };
	struct fuse_args args = FUSE_ARGS_INIT(1, args_v);
	struct fuse_session *session;
	struct utsname name;
	pthread_t thread;
	int rc;

	if (argc != 2) {
		fprintf(stderr, "usage: fusewrites FOLDER\n");
		return 2;
	}
	session = fuse_session_new(&args, &ops, sizeof(ops), NULL);
	if (!session || fuse_session_mount(session, argv[1]) ||
	    pthread_create(&thread, NULL, serve, session))
		return 1;
	uname(&name);
	printf("Linux %s\n", name.release);
	rc = look(argv[1], false) || look(argv[1], true);
	fuse_session_unmount(session);
	pthread_join(thread, NULL);
	fuse_session_destroy(session);
	return rc;
}
