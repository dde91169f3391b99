/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sender and receiver with machines of our own: memory that a thread keeps writing, a dirty log kept by
 * hand, state that says how often it was saved.  What arrives must be what was there when the
 * source stopped.
 */
#include "vmm/migration/recv.h"
#include "vmm/migration/send.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define PAGE  VMM_STREAM_PAGE_BYTES
#define LOW   768u
#define HIGH  259u
#define PAGES (LOW + HIGH)
#define WORDS ((PAGES + 63) / 64)

struct toy {
	struct vmm_mig_machine m;
	uint8_t *ram;
	_Atomic uint64_t log[WORDS];
	pthread_mutex_t lock; /* held while the "guest" writes */
	bool paused, held;
	atomic_bool quit;
	pthread_t guest;
	uint64_t writes;
	bool sloppy; /* a planted fault: a write that is not logged */
	uint8_t loaded[8];
	unsigned loads;
};

static int toy_allocated(void *arg, uint64_t *bitmap)
{
	struct toy *t = arg;

	/* The last 100 pages were never touched. */
	for (uint64_t p = 0; p < PAGES - 100; p++)
		bitmap[p / 64] |= 1ull << (p % 64);
	(void)t;
	return 0;
}

static int toy_log_start(void *arg)
{
	struct toy *t = arg;

	for (unsigned i = 0; i < WORDS; i++)
		t->log[i] = 0;
	return 0;
}

static int toy_log_fetch(void *arg, uint64_t *bitmap)
{
	struct toy *t = arg;

	for (unsigned i = 0; i < WORDS; i++)
		bitmap[i] |= atomic_exchange(&t->log[i], 0);
	return 0;
}

static int toy_log_clear(void *arg, uint64_t first, uint64_t count, const uint64_t *bitmap)
{
	CU_ASSERT_EQUAL(first % 64, 0);
	return 0;
}

static void toy_log_stop(void *arg)
{
}

static int toy_pause(void *arg, char **ret_error)
{
	struct toy *t = arg;

	pthread_mutex_lock(&t->lock);
	t->paused = true;
	if (t->sloppy)
		t->ram[10 * PAGE + 77]++;
	pthread_mutex_unlock(&t->lock);
	return 0;
}

static void toy_resume(void *arg)
{
	struct toy *t = arg;

	pthread_mutex_lock(&t->lock);
	t->paused = false;
	pthread_mutex_unlock(&t->lock);
}

static void toy_hold(void *arg, bool on)
{
	struct toy *t = arg;

	pthread_mutex_lock(&t->lock);
	t->held = on;
	pthread_mutex_unlock(&t->lock);
}

static int toy_save(void *arg, unsigned type, unsigned instance, struct cl_writer *w,
		    char **ret_error)
{
	struct toy *t = arg;

	cl_write_u8(w, (uint8_t)type);
	cl_write_u8(w, (uint8_t)instance);
	/* Serialising writes guest memory, as real devices may. */
	if (type == VMM_SECTION_DEVICE) {
		t->ram[5 * PAGE + 8]++;
		atomic_fetch_or(&t->log[0], 1ull << 5);
	}
	return 0;
}

static uint64_t toy_clock(void *arg)
{
	return 0;
}

static int toy_load(void *arg, const struct vmm_mig_state *s, char **ret_error)
{
	struct toy *t = arg;

	CU_ASSERT_EQUAL(s->vm.len_bytes, 2);
	CU_ASSERT_EQUAL(((const uint8_t *)s->vcpus[1].data)[1], 1);
	CU_ASSERT_EQUAL(((const uint8_t *)s->devices[2].data)[1], 2);
	t->loads++;
	return 0;
}

static void *guest_main(void *arg)
{
	struct toy *t = arg;
	unsigned x = 1;

	while (!t->quit) {
		pthread_mutex_lock(&t->lock);
		for (unsigned i = 0; i < 8 && !t->paused && !t->held; i++) {
			unsigned page = (x = x * 1103515245u + 12345u) / 65536 % 300 + LOW - 150;

			t->ram[page * PAGE + x % PAGE] = (uint8_t)(x >> 3);
			if (x % 16 == 0)
				memset(t->ram + page * PAGE, 0, PAGE);
			atomic_fetch_or(&t->log[page / 64], 1ull << (page % 64));
			t->writes++;
		}
		pthread_mutex_unlock(&t->lock);
		usleep(100);
	}
	return NULL;
}

static struct toy *toy_new(bool with_guest)
{
	struct toy *t = calloc(1, sizeof(*t));

	t->ram = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pthread_mutex_init(&t->lock, NULL);
	t->m = (struct vmm_mig_machine){
		.arg = t,
		.config = { .name = "toy", .generation = 3, .memory_bytes = PAGES * PAGE, .cpus = 2,
			    .devices = 3, .machine_digest = 4711 },
		.regions = { { 0, 0, LOW, t->ram },
			     { 1ull << 32, LOW, HIGH, t->ram + LOW * PAGE } },
		.n_regions = 2,
		.pages = PAGES,
		.allocated = toy_allocated,
		.log_start = toy_log_start,
		.log_fetch = toy_log_fetch,
		.log_clear = toy_log_clear,
		.log_stop = toy_log_stop,
		.pause = toy_pause,
		.resume = toy_resume,
		.hold = toy_hold,
		.save = toy_save,
		.clock_read_ns = toy_clock,
		.load = toy_load,
	};
	if (with_guest) {
		for (unsigned p = 0; p < PAGES - 100; p += 3)
			memset(t->ram + p * PAGE, (int)p, PAGE);
		pthread_create(&t->guest, NULL, guest_main, t);
	}
	return t;
}

static void toy_free(struct toy *t)
{
	if (t->guest) {
		t->quit = true;
		pthread_join(t->guest, NULL);
	}
	munmap(t->ram, PAGES * PAGE);
	free(t);
}

/* In place of TLS: one end of a socket pair. */
struct sock_link {
	struct vmm_link link; /* first */
	int fd;
};

static int sock_write(struct vmm_link *link, const void *buf, size_t len_bytes)
{
	const char *p = buf;

	while (len_bytes) {
		ssize_t n = write(((struct sock_link *)link)->fd, p, len_bytes);

		if (n < 0)
			return -errno;
		p += n;
		len_bytes -= (size_t)n;
		link->written_bytes += (uint64_t)n;
	}
	return 0;
}

static int sock_read(struct vmm_link *link, void *buf, size_t len_bytes)
{
	ssize_t n = recv(((struct sock_link *)link)->fd, buf, len_bytes, MSG_WAITALL);

	return n < 0 ? -errno : (size_t)n < len_bytes ? -ENODATA : 0;
}

static void sock_link(struct sock_link *s, int fd)
{
	*s = (struct sock_link){ .link = { .write = sock_write, .read = sock_read }, .fd = fd };
}

struct destination {
	struct toy *toy;
	struct sock_link link;
	struct vmm_recv_stats stats;
	int rc;
	char *error;
};

static void *destination_main(void *arg)
{
	const struct vmm_recv_params live = { .live = true };
	struct destination *d = arg;

	d->rc = vmm_recv(&d->toy->m, &d->link.link, &live, &d->stats, &d->error);
	shutdown(d->link.fd, SHUT_RDWR);
	return NULL;
}

static unsigned told, switched;
static bool allow_switch;
static int cut_fd;

static void on_progress(void *arg, const struct vmm_send_stats *stats)
{
	told++;
}

static bool on_may_switch(void *arg)
{
	return allow_switch;
}

static bool on_may_end(void *arg)
{
	if (cut_fd >= 0)
		shutdown(cut_fd, SHUT_RDWR);
	return true;
}

static void on_switched(void *arg, const struct vmm_send_stats *stats)
{
	switched++;
}

static const struct vmm_send_hooks hooks = { NULL, on_progress, on_may_switch, on_may_end,
					     on_switched };

static enum vmm_send_result move(struct toy *a, struct toy *b, struct destination *d,
				 const struct vmm_send_params *params, bool cancelled, char **error)
{
	struct vmm_send_stats stats = { 0 };
	atomic_bool cancel = cancelled;
	enum vmm_send_result res;
	struct sock_link link;
	pthread_t thread;
	int fds[2];

	switched = 0;
	*error = NULL;
	signal(SIGPIPE, SIG_IGN);
	CU_ASSERT_EQUAL_FATAL(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
	if (cut_fd >= 0)
		cut_fd = fds[0];
	sock_link(&link, fds[0]);
	*d = (struct destination){ .toy = b };
	sock_link(&d->link, fds[1]);
	pthread_create(&thread, NULL, destination_main, d);
	res = vmm_send_live(&a->m, &link.link, params, &hooks, &cancel, &stats, error);
	shutdown(fds[0], SHUT_RDWR);
	pthread_join(thread, NULL);
	close(fds[0]);
	close(fds[1]);
	return res;
}

static const struct vmm_send_params usual = { .downtime_us = 10000000, .verify = true };

static void moves_under_load(void)
{
	struct toy *a = toy_new(true), *b = toy_new(false);
	/* Three passes at least: nothing meets a target of 0. */
	struct vmm_send_params p = { .rounds_max = 3, .switch_anyway = true, .verify = true };
	struct destination d;
	char *error;

	allow_switch = true;
	cut_fd = -1;
	CU_ASSERT_EQUAL(move(a, b, &d, &p, false, &error), VMM_SEND_READY);
	CU_ASSERT_PTR_NULL(error);
	CU_ASSERT_EQUAL(d.rc, 0);
	CU_ASSERT_EQUAL(switched, 1);
	CU_ASSERT_EQUAL(b->loads, 1);
	CU_ASSERT(a->paused);
	CU_ASSERT(a->writes > 0);
	CU_ASSERT_EQUAL(d.stats.rounds, 3);
	CU_ASSERT_EQUAL(memcmp(a->ram, b->ram, PAGES * PAGE), 0);
	toy_free(a);
	toy_free(b);
	free(d.error);
}

static void a_lost_write_is_found(void)
{
	struct toy *a = toy_new(true), *b = toy_new(false);
	struct vmm_send_params p = { .rounds_max = 30, .switch_anyway = true, .verify = true };
	struct destination d;
	char *error;

	a->sloppy = true;
	CU_ASSERT_EQUAL(move(a, b, &d, &p, false, &error), VMM_SEND_UNKNOWN);
	CU_ASSERT(a->paused); /* after END the source waits to be told, even on a clear no */
	CU_ASSERT_EQUAL(d.rc, -EBADMSG);
	CU_ASSERT_EQUAL(b->loads, 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(error);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "memory differs"));
	toy_free(a);
	toy_free(b);
	free(d.error);
	free(error);
}

static void failures_before_end_leave_the_source_running(void)
{
	struct toy *a = toy_new(true), *b = toy_new(false);
	struct vmm_send_params never = { .downtime_us = 0, .rounds_max = 4 };
	struct destination d;
	char *error;

	CU_ASSERT_EQUAL(move(a, b, &d, &usual, true, &error), VMM_SEND_FAILED);
	CU_ASSERT_STRING_EQUAL(error, "cancelled");
	CU_ASSERT_FALSE(a->paused);
	CU_ASSERT_NOT_EQUAL(d.rc, 0);
	free(error), free(d.error);
	CU_ASSERT_EQUAL(move(a, b, &d, &never, false, &error), VMM_SEND_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "does not converge: after 4 passes"));
	CU_ASSERT_FALSE(a->paused);
	CU_ASSERT_FALSE(a->held);
	free(error), free(d.error);
	allow_switch = false;
	CU_ASSERT_EQUAL(move(a, b, &d, &usual, false, &error), VMM_SEND_FAILED);
	CU_ASSERT_FALSE(a->paused);
	allow_switch = true;
	free(error), free(d.error);
	b->m.config.cpus = 1;
	CU_ASSERT_EQUAL(move(a, b, &d, &usual, false, &error), VMM_SEND_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "it has 2 vCPUs, configured here are 1"));
	CU_ASSERT_FALSE(a->paused);
	CU_ASSERT_EQUAL(b->loads, 0);
	free(error), free(d.error);
	toy_free(a);
	toy_free(b);
}

static void a_link_lost_at_end_is_unknown(void)
{
	struct toy *a = toy_new(true), *b = toy_new(false);
	struct destination d;
	char *error;

	cut_fd = 0;
	CU_ASSERT_EQUAL(move(a, b, &d, &usual, false, &error), VMM_SEND_UNKNOWN);
	cut_fd = -1;
	CU_ASSERT(a->paused);
	CU_ASSERT_EQUAL(b->loads, 0);
	toy_free(a);
	toy_free(b);
	free(error), free(d.error);
}

static int restore_since(int fd, struct toy *b, uint64_t stopped_since_ns, uint64_t *ret_age_ns,
			 char **error)
{
	const struct vmm_recv_params params = { .stopped_since_ns = stopped_since_ns };
	struct vmm_recv_stats stats = { 0 };
	struct vmm_link link;
	int r;

	*error = NULL;
	CU_ASSERT_EQUAL_FATAL(vmm_link_file(&link, fd, false), 0);
	r = vmm_recv(&b->m, &link, &params, &stats, error);
	vmm_link_file_free(&link);
	*ret_age_ns = stats.age_ns;
	return r;
}

static int restore_from(int fd, struct toy *b, char **error)
{
	uint64_t age_ns;

	return restore_since(fd, b, 0, &age_ns, error);
}

static uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

/* Most of it is written while the guest goes on writing; what is restored is what was there at the pause. */
static void a_save_while_it_runs(void)
{
	struct toy *a = toy_new(true), *b = toy_new(false);
	char path[] = "/tmp/move_test.XXXXXX", *error = NULL;
	struct vmm_send_stats stats = { 0 };
	atomic_bool cancel = false;
	int fd = mkstemp(path);
	struct vmm_link link;

	unlink(path);
	CU_ASSERT_EQUAL_FATAL(vmm_link_file(&link, fd, true), 0);
	CU_ASSERT_EQUAL_FATAL(vmm_send_save(&a->m, &link, true, &cancel, &stats, &error), 0);
	CU_ASSERT(a->paused);
	CU_ASSERT_EQUAL(vmm_link_file_sync(&link), 0);
	vmm_link_file_free(&link);
	CU_ASSERT(stats.round >= 1);
	CU_ASSERT_EQUAL(restore_from(fd, b, &error), 0);
	CU_ASSERT_EQUAL(memcmp(a->ram, b->ram, PAGES * PAGE), 0);
	CU_ASSERT_EQUAL(ftruncate(fd, 0), 0);
	toy_resume(a);
	cancel = true;
	CU_ASSERT_EQUAL_FATAL(vmm_link_file(&link, fd, true), 0);
	stats = (struct vmm_send_stats){ 0 };
	CU_ASSERT_EQUAL(vmm_send_save(&a->m, &link, true, &cancel, &stats, &error), -ECANCELED);
	CU_ASSERT(!a->paused);
	vmm_link_file_free(&link);
	free(error);
	close(fd);
	toy_free(a);
	toy_free(b);
}

/* The wall clocks of source and destination differ (here: time passes); the guest's clock keeps to what can be. */
static void a_clock_never_runs_ahead(void)
{
	struct toy *a = toy_new(true), *b = toy_new(false);
	char path[] = "/tmp/move_test.XXXXXX", *error = NULL;
	struct vmm_send_stats stats = { 0 };
	uint64_t age_ns, before;
	int fd = mkstemp(path);
	struct vmm_link link;

	unlink(path);
	toy_pause(a, &error);
	CU_ASSERT_EQUAL_FATAL(vmm_link_file(&link, fd, true), 0);
	CU_ASSERT_EQUAL_FATAL(vmm_send_save(&a->m, &link, false, NULL, &stats, &error), 0);
	CU_ASSERT_EQUAL_FATAL(vmm_link_file_sync(&link), 0);
	vmm_link_file_free(&link);
	usleep(50000);
	CU_ASSERT_EQUAL(restore_since(fd, b, 0, &age_ns, &error), 0);
	CU_ASSERT(age_ns >= 50000000);
	before = now_ns();
	CU_ASSERT_EQUAL(restore_since(fd, b, before, &age_ns, &error), 0);
	CU_ASSERT(age_ns <= now_ns() - before);
	CU_ASSERT_EQUAL(restore_since(fd, b, now_ns() + 3600000000000ull, &age_ns, &error), 0);
	CU_ASSERT_EQUAL(age_ns, 0);
	close(fd);
	toy_free(a);
	toy_free(b);
}

static void files(void)
{
	struct toy *a = toy_new(true), *b = toy_new(false);
	char path[] = "/tmp/move_test.XXXXXX", *error = NULL;
	struct vmm_send_stats stats = { 0 };
	int fd = mkstemp(path);
	struct vmm_link link;
	uint8_t byte;
	off_t size;

	unlink(path);
	usleep(5000);
	toy_pause(a, &error);
	CU_ASSERT_EQUAL_FATAL(vmm_link_file(&link, fd, true), 0);
	CU_ASSERT_EQUAL(vmm_send_save(&a->m, &link, false, NULL, &stats, &error), 0);
	CU_ASSERT_EQUAL_FATAL(vmm_link_file_sync(&link), 0);
	CU_ASSERT_EQUAL(lseek(fd, 0, SEEK_END), (off_t)link.written_bytes);
	vmm_link_file_free(&link);
	CU_ASSERT_EQUAL(restore_from(fd, b, &error), 0);
	CU_ASSERT_EQUAL(b->loads, 1);
	CU_ASSERT_EQUAL(memcmp(a->ram, b->ram, PAGES * PAGE), 0);
	size = lseek(fd, 0, SEEK_END);
	for (off_t at = 3; at < size; at += size / 97) {
		CU_ASSERT_EQUAL(pread(fd, &byte, 1, at), 1);
		byte ^= 0x10;
		CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, at), 1);
		CU_ASSERT_EQUAL(restore_from(fd, b, &error), -EBADMSG);
		CU_ASSERT_PTR_NOT_NULL_FATAL(error);
		CU_ASSERT_PTR_NOT_NULL(strstr(error, "corrupt at offset"));
		free(error);
		byte ^= 0x10;
		CU_ASSERT_EQUAL(pwrite(fd, &byte, 1, at), 1);
	}
	CU_ASSERT_EQUAL(pwrite(fd, "x", 1, size), 1);
	CU_ASSERT_EQUAL(restore_from(fd, b, &error), -EBADMSG);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "something follows END"));
	free(error);
	CU_ASSERT_EQUAL(ftruncate(fd, size / 2), 0);
	CU_ASSERT_EQUAL(restore_from(fd, b, &error), -ENODATA);
	CU_ASSERT_PTR_NOT_NULL(strstr(error, "it ends there"));
	free(error);
	CU_ASSERT_EQUAL(b->loads, 1);
	close(fd);
	toy_free(a);
	toy_free(b);
}

UNIT_MAIN("migration", { "moves under load", moves_under_load },
	  { "a lost write is found", a_lost_write_is_found },
	  { "failures before END leave the source running",
	    failures_before_end_leave_the_source_running },
	  { "a link lost at END is unknown", a_link_lost_at_end_is_unknown }, { "files", files },
	  { "a save while it runs", a_save_while_it_runs },
	  { "a clock never runs ahead", a_clock_never_runs_ahead })
