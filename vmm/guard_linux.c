/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guard: a thread that freezes the VM when its node's lease has ended, and thaws it when the
 * lease goes on.  It needs nobody for that: not clusterd, not the control thread, no disk, no network.
 *
 *   holds ──deadline passed, or the page says ended──> frozen ──the page names a later moment──> holds
 *
 *   frozen  no vCPU is in KVM_RUN, and the devices start nothing new.  Requests in flight end by
 *           themselves: the disks are another's matter (fencing).  vm->state does not change: a frozen VM is
 *           running, paused, being saved or moved as before, and what it is thawed to is that.
 *
 * It looks LOOK_MS after the last look at the latest.  CLOCK_BOOTTIME may stand still with the
 * whole machine (cl_clocks_linux.c): then that is too late, and devices ask vmm_guard_holds()
 * before a frame, a disk's request or an answer leaves them.  What is left is what vCPUs compute in
 * between, in their own memory.
 *
 * It must run when nothing else does: real-time, on a stack and in code that do not leave the
 * memory.
 */
#include "vmm/guard.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/cl_lease.h"
#include "common/cl_log.h"
#include "vmm/machine.h"
#include "vmm/text.h"
#include "vmm/vm_config.h"

#define LOOK_MS	    100u
#define RTC_MS	    1u	/* so long a look at the slow clock is good, if it is the only one */
#define RTC_TSC_MS  10u /* ... and beside the TSC */
#define STACK_BYTES (256u * 1024u)
#define PRIORITY    1

struct vmm_guard {
	struct vmm *vm;
	const struct cl_lease *lease;
	struct cl_clocks clocks;
	int timer_fd, stop_fd, look_fd;
	atomic_bool missed;    /* vmm_guard_holds() said no since the last look */
	struct cl_moment slow; /* dev_lock: its last look at the slow clock */
	void *stack;
	pthread_t thread;
	bool thread_made;
};

static void timer_arm(struct vmm_guard *g, uint64_t now_ms, uint64_t until_ms)
{
	uint64_t at_ms = until_ms > now_ms && until_ms - now_ms < LOOK_MS ? until_ms :
									    now_ms + LOOK_MS;
	struct itimerspec t = { .it_value = { .tv_sec = (time_t)(at_ms / 1000),
					      .tv_nsec = (long)(at_ms % 1000) * 1000000 } };

	(void)timerfd_settime(g->timer_fd, TFD_TIMER_ABSTIME, &t, NULL);
}

/* What is left of the lease by every clock that it asks for. */
static uint64_t look(const struct vmm_guard *g, struct cl_moment *ret_now)
{
	(void)cl_clocks_read(&g->clocks, cl_lease_wants_rtc(g->lease), cl_lease_wants_tsc(g->lease),
			     ret_now);
	return cl_lease_left_ms(g->lease, ret_now);
}

bool vmm_guard_holds(struct vmm_guard *g)
{
	bool rtc = cl_lease_wants_rtc(g->lease), tsc = cl_lease_wants_tsc(g->lease);
	struct cl_moment now;
	uint64_t one = 1;

	(void)cl_clocks_read(&g->clocks, false, tsc, &now);
	if (rtc && now.boot_ms - g->slow.boot_ms >= (now.tsc ? RTC_TSC_MS : RTC_MS)) {
		(void)cl_clocks_read(&g->clocks, true, tsc, &now);
		g->slow = now;
	}
	now.rtc_s = g->slow.rtc_s;
	if (cl_lease_left_ms(g->lease, &now))
		return true;
	if (!atomic_exchange(&g->missed, true))
		(void)!write(g->look_fd, &one, sizeof(one));
	return false;
}

static void change(struct vmm_guard *g, const struct cl_moment *now, bool frozen)
{
	struct vmm *vm = g->vm;
	uint64_t proof_ms = cl_lease_proof_ms(g->lease), now_ms = now->boot_ms;
	char text[96];

	vmm_freeze(vm, frozen);
	if (!frozen)
		snprintf(text, sizeof(text), "the node's lease goes on");
	else if (cl_lease_until_ms(g->lease) > now_ms)
		snprintf(text, sizeof(text),
			 cl_lease_wants_rtc(g->lease) && !now->rtc_s
				 ? "frozen: the node's real-time clock cannot be read"
				 : "frozen: the node stood still, or its clock was set");
	else if (!proof_ms || proof_ms > now_ms)
		snprintf(text, sizeof(text), "frozen: the node has no lease");
	else
		snprintf(text, sizeof(text), "frozen: no word from the cluster for %llu.%llu s",
			 (unsigned long long)((now_ms - proof_ms) / 1000),
			 (unsigned long long)((now_ms - proof_ms) / 100 % 10));
	cl_notice("VM %s: %s", vm->config->name, text);
	if (vm->on_frozen)
		vm->on_frozen(vm->on_state_arg, frozen, text);
}

static void *guard_main(void *arg)
{
	struct vmm_guard *g = arg;
	struct pollfd p[3] = { { .fd = g->stop_fd, .events = POLLIN },
			       { .fd = g->timer_fd, .events = POLLIN },
			       { .fd = g->look_fd, .events = POLLIN } };
	/* As vmm_guard_new() left it. */
	bool frozen = vmm_frozen(g->vm);
	uint64_t n;

	pthread_setname_np(pthread_self(), "vmm-guard");
	if (g->vm->confine)
		g->vm->confine(VMM_THREAD_GUARD);
	while (!(p[0].revents & POLLIN)) {
		bool missed = atomic_exchange(&g->missed, false);
		struct cl_moment now;
		uint64_t left_ms = look(g, &now);

		if ((left_ms == 0) != frozen) {
			frozen = !frozen;
			change(g, &now, frozen);
		} else if (missed && !frozen) {
			vmm_freeze(g->vm, false); /* every queue again */
		}
		timer_arm(g, now.boot_ms, now.boot_ms + left_ms);
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			cl_error("poll: %s", strerror(errno));
		if (p[1].revents & POLLIN)
			(void)!read(g->timer_fd, &n, sizeof(n));
		if (p[2].revents & POLLIN)
			(void)!read(g->look_fd, &n, sizeof(n));
	}
	return NULL;
}

/*
 * As root, for the thread that is made when root is given up: its stack; all that is mapped now,
 * once it is used, stays in memory, but not the guest's; one priority above all that is not
 * real-time.
 */
static void privileges(struct vmm_guard *g)
{
	const struct vmm_mem *mem = &g->vm->mem;
	struct rlimit rt = { PRIORITY, PRIORITY };

	g->stack = mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	if (g->stack == MAP_FAILED)
		g->stack = NULL;
	if (mlockall(MCL_CURRENT | MCL_ONFAULT) < 0)
		cl_info("guard: its pages may be swapped out: mlockall: %s", strerror(errno));
	else if (mem->n_regions)
		(void)munlock(mem->regions[0].host, mem->total_bytes);
	if (setrlimit(RLIMIT_RTPRIO, &rt) < 0)
		cl_info("guard: no real-time priority: setrlimit: %s", strerror(errno));
}

int vmm_guard_new(struct vmm *vm, const char *path, char **ret_error)
{
	struct cl_moment now;
	struct vmm_guard *g;
	int r;

	if (!path[0])
		return 0;
	g = calloc(1, sizeof(*g));
	if (!g)
		return vmm_error(ret_error, ENOMEM, "guard: out of memory");
	vm->guard = g;
	g->vm = vm;
	cl_clocks_open(&g->clocks);
	g->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	g->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	g->look_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (g->timer_fd < 0 || g->stop_fd < 0 || g->look_fd < 0)
		return vmm_error(ret_error, errno, "guard: %s", strerror(errno));
	r = cl_lease_open(path, &g->lease);
	if (r < 0)
		return vmm_error(ret_error, -r, "%s: %s", path,
				 r == -EBADMSG ? "not a lease page" : strerror(-r));
	privileges(g);
	if (!look(g, &now))
		vmm_freeze(vm, true);
	return 0;
}

static int thread_make(struct vmm_guard *g, bool real_time)
{
	struct sched_param sched = { .sched_priority = PRIORITY };
	pthread_attr_t attr;
	int r = pthread_attr_init(&attr);

	if (r)
		return r;
	if (g->stack)
		(void)pthread_attr_setstack(&attr, g->stack, STACK_BYTES);
	if (real_time) {
		(void)pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED);
		(void)pthread_attr_setschedpolicy(&attr, SCHED_FIFO);
		(void)pthread_attr_setschedparam(&attr, &sched);
	}
	r = pthread_create(&g->thread, &attr, guard_main, g);
	(void)pthread_attr_destroy(&attr);
	return r;
}

int vmm_guard_start(struct vmm_guard *g, char **ret_error)
{
	struct rlimit none = { 0, 0 };
	int r;

	if (!g)
		return 0;
	r = thread_make(g, true);
	if (r == EPERM) {
		cl_warning("guard: no real-time priority: %s", strerror(r));
		r = thread_make(g, false);
	}
	if (r)
		return vmm_error(ret_error, r, "thread of the guard: %s", strerror(r));
	g->thread_made = true;
	(void)setrlimit(RLIMIT_RTPRIO, &none); /* nobody else in this process */
	return 0;
}

uint64_t vmm_guard_left_ms(const struct vmm_guard *g)
{
	struct cl_moment now;

	return look(g, &now);
}

void vmm_guard_stop(struct vmm_guard *g)
{
	uint64_t one = 1;

	if (!g || !g->thread_made)
		return;
	(void)!write(g->stop_fd, &one, sizeof(one));
	pthread_join(g->thread, NULL);
	g->thread_made = false;
}

void vmm_guard_free(struct vmm_guard *g)
{
	if (!g)
		return;
	vmm_guard_stop(g);
	cl_lease_close(g->lease);
	if (g->timer_fd >= 0)
		close(g->timer_fd);
	if (g->stop_fd >= 0)
		close(g->stop_fd);
	if (g->look_fd >= 0)
		close(g->look_fd);
	cl_clocks_close(&g->clocks);
	if (g->stack)
		munmap(g->stack, STACK_BYTES);
	free(g);
}
