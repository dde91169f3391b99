/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Kinds of threads of a vmm: each has a system-call filter of its own (sandbox_seccomp.c). */
#ifndef VMM_THREAD_H
#define VMM_THREAD_H

enum vmm_thread {
	VMM_THREAD_VCPU,
	VMM_THREAD_IO,
	VMM_THREAD_GUARD,
	VMM_THREAD_CONTROL,
	VMM_THREAD_WORKER, /* start, save, migration; and the threads that it makes for them */
	VMM_THREAD_TUNNEL, /* all threads of vmm-tunnel */
	VMM_THREADS,
};

/* Called first on each thread; does not return if it cannot be confined.  NULL in tests: nobody
 * confines. */
typedef void (*vmm_confine_fn)(enum vmm_thread kind);

#endif
