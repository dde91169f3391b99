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
 * It looks LOOK_MS after the last look at the latest, on CLOCK_BOOTTIME: after a suspend or a stop of the whole machine at
 * once.  What a vCPU does between the machine's going on and that look is the limit of it.
 */
#include "vmm/guard.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/cl_lease.h"
#include "common/cl_log.h"
#include "vmm/machine.h"
#include "vmm/text.h"
#include "vmm/vm_config.h"

#define LOOK_MS 100u

struct vmm_guard {
	struct vmm *vm;
	const struct cl_lease *lease;
	int timer_fd, stop_fd;
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

static void change(struct vmm_guard *g, uint64_t now_ms, bool frozen)
{
	struct vmm *vm = g->vm;
	uint64_t proof_ms = cl_lease_proof_ms(g->lease);
	char text[96];

	vmm_freeze(vm, frozen);
	if (!frozen)
		snprintf(text, sizeof(text), "the node's lease goes on");
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
	struct pollfd p[2] = { { .fd = g->stop_fd, .events = POLLIN },
			       { .fd = g->timer_fd, .events = POLLIN } };
	/* As vmm_guard_new() left it. */
	bool frozen = vmm_frozen(g->vm);
	uint64_t n;

	pthread_setname_np(pthread_self(), "vmm-guard");
	while (!(p[0].revents & POLLIN)) {
		uint64_t now_ms = cl_lease_now_ms(), until_ms = cl_lease_until_ms(g->lease);

		if ((until_ms <= now_ms) != frozen) {
			frozen = !frozen;
			change(g, now_ms, frozen);
		}
		timer_arm(g, now_ms, until_ms);
		if (poll(p, 2, -1) < 0 && errno != EINTR)
			cl_error("poll: %s", strerror(errno));
		if (p[1].revents & POLLIN)
			(void)!read(g->timer_fd, &n, sizeof(n));
	}
	return NULL;
}

int vmm_guard_new(struct vmm *vm, const char *path, char **ret_error)
{
	struct vmm_guard *g;
	int r;

	if (!path[0])
		return 0;
	g = calloc(1, sizeof(*g));
	if (!g)
		return vmm_error(ret_error, ENOMEM, "guard: out of memory");
	vm->guard = g;
	g->vm = vm;
	g->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	g->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (g->timer_fd < 0 || g->stop_fd < 0)
		return vmm_error(ret_error, errno, "guard: %s", strerror(errno));
	r = cl_lease_open(path, &g->lease);
	if (r < 0)
		return vmm_error(ret_error, -r, "%s: %s", path,
				 r == -EBADMSG ? "not a lease page" : strerror(-r));
	if (cl_lease_until_ms(g->lease) <= cl_lease_now_ms())
		vmm_freeze(vm, true);
	return 0;
}

int vmm_guard_start(struct vmm_guard *g, char **ret_error)
{
	int r = g ? pthread_create(&g->thread, NULL, guard_main, g) : 0;

	if (r)
		return vmm_error(ret_error, r, "thread of the guard: %s", strerror(r));
	if (g)
		g->thread_made = true;
	return 0;
}

uint64_t vmm_guard_left_ms(const struct vmm_guard *g)
{
	uint64_t now_ms = cl_lease_now_ms(), until_ms = cl_lease_until_ms(g->lease);

	return until_ms > now_ms ? until_ms - now_ms : 0;
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
	free(g);
}
