/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The machine as migration sees it: memory by page number, a dirty log, pause and
 * resume, and opaque state.  machine_kvm.c fills it in for a real VM; tests fill
 * it in with a machine of their own.
 *
 * Page p is the 4096 bytes at offset p * 4096 of the memfd, where low and high
 * RAM lie one after the other; a bitmap has one bit a page.
 *
 * All calls are made by one thread at a time, the one that sends or receives; hold() by
 * one more.
 */
#ifndef VMM_MIGRATION_MACHINE_H
#define VMM_MIGRATION_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/cl_wire.h"
#include "vmm/migration/stream.h"

#define VMM_MIG_REGIONS_MAX 2u
#define VMM_MIG_STATE_MAX   (64u << 10) /* bytes of one piece of state */

struct vmm_mig_region {
	uint64_t gpa;
	uint64_t first_page;
	uint64_t pages;
	uint8_t *host;
};

struct vmm_mig_blob {
	const void *data; /* NULL: not there */
	uint32_t len_bytes;
};

/* Everything but memory, borrowed from the receiver for one call of load(). */
struct vmm_mig_state {
	struct vmm_mig_blob vm;
	struct vmm_mig_blob vcpus[VMM_STREAM_CPUS_MAX];
	struct vmm_mig_blob devices[VMM_STREAM_DEVICES_MAX];
	/* How long the guest had been stopped at received_ns (CLOCK_MONOTONIC). */
	uint64_t age_ns;
	uint64_t received_ns;
};

struct vmm_mig_machine {
	void *arg;
	struct vmm_stream_config config;
	struct vmm_mig_region regions[VMM_MIG_REGIONS_MAX];
	unsigned n_regions;
	uint64_t pages;

	/* Sets the bits of pages that may be other than zero. */
	int (*allocated)(void *arg, uint64_t *bitmap);
	/* From here on every write is seen by log_fetch. */
	int (*log_start)(void *arg);
	/* Adds the bits of pages written since the last fetch. */
	int (*log_fetch)(void *arg, uint64_t *bitmap);
	/*
	 * The sender is about to read the pages set in bitmap among [first, first + count): writes
	 * from here on must be fetched again.  first is a multiple of 64.
	 */
	int (*log_clear)(void *arg, uint64_t first, uint64_t count, const uint64_t *bitmap);
	void (*log_stop)(void *arg);

	/* 0, or -errno with a malloc'ed reason and the machine still running. */
	int (*pause)(void *arg, char **ret_error);
	void (*resume)(void *arg);
	/* Holds the vCPUs back, or lets them go, for throttling; devices go on. */
	void (*hold)(void *arg, bool on);

	/* Writes one piece of state of the paused machine. */
	int (*save)(void *arg, unsigned type, unsigned instance, struct cl_writer *w,
		    char **ret_error);
	/* CLOCK_MONOTONIC at which the guest's clock was read by the last save of VMM_SECTION_VM. */
	uint64_t (*clock_read_ns)(void *arg);
	/* Loads it all; memory is complete.  On error the machine must not run. */
	int (*load)(void *arg, const struct vmm_mig_state *state, char **ret_error);
};

/* Page number of gpa, or UINT64_MAX if [gpa, gpa + pages) is not within one region. */
uint64_t vmm_mig_page_of(const struct vmm_mig_machine *m, uint64_t gpa, uint64_t pages);
/* The region that holds the page; page < m->pages. */
const struct vmm_mig_region *vmm_mig_region_of(const struct vmm_mig_machine *m, uint64_t page);
static inline size_t vmm_mig_words(uint64_t pages)
{
	return (size_t)((pages + 63) / 64);
}
uint64_t vmm_mig_count(const uint64_t *bitmap, uint64_t pages);
/* Over all memory; never 0. */
uint64_t vmm_mig_ram_hash(const struct vmm_mig_machine *m);
/* "" or what differs between the machine that comes and the one that is here. */
void vmm_mig_config_differs(const struct vmm_stream_config *theirs,
			    const struct vmm_stream_config *ours, char *ret_text, size_t cap_bytes);

#endif
