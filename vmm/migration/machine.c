/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Page arithmetic of migration and the comparison of two machines.  Pure.
 */
#include "vmm/migration/machine.h"

#include <stdio.h>
#include <string.h>

uint64_t vmm_mig_page_of(const struct vmm_mig_machine *m, uint64_t gpa, uint64_t pages)
{
	for (unsigned i = 0; i < m->n_regions; i++) {
		const struct vmm_mig_region *r = &m->regions[i];
		uint64_t first;

		if (gpa < r->gpa)
			continue;
		first = (gpa - r->gpa) / VMM_STREAM_PAGE_BYTES;
		if (first < r->pages && pages <= r->pages - first)
			return r->first_page + first;
	}
	return UINT64_MAX;
}

const struct vmm_mig_region *vmm_mig_region_of(const struct vmm_mig_machine *m, uint64_t page)
{
	for (unsigned i = 0; i < m->n_regions; i++) {
		const struct vmm_mig_region *r = &m->regions[i];

		if (page >= r->first_page && page - r->first_page < r->pages)
			return r;
	}
	return NULL;
}

uint64_t vmm_mig_count(const uint64_t *bitmap, uint64_t pages)
{
	uint64_t n = 0;

	for (size_t i = 0; i < vmm_mig_words(pages); i++)
		for (uint64_t w = bitmap[i]; w; w &= w - 1)
			n++;
	return n;
}

uint64_t vmm_mig_ram_hash(const struct vmm_mig_machine *m)
{
	uint64_t h = 1;

	for (unsigned i = 0; i < m->n_regions; i++)
		h = vmm_stream_hash(h, m->regions[i].host,
				    m->regions[i].pages * VMM_STREAM_PAGE_BYTES);
	return h ? h : 1;
}

void vmm_mig_config_differs(const struct vmm_stream_config *theirs,
			    const struct vmm_stream_config *ours, char *ret_text, size_t cap_bytes)
{
	ret_text[0] = '\0';
	if (strcmp(theirs->name, ours->name) != 0)
		snprintf(ret_text, cap_bytes, "it is VM %s, configured here is %s", theirs->name,
			 ours->name);
	else if (memcmp(theirs->uuid, ours->uuid, sizeof(ours->uuid)) != 0)
		snprintf(ret_text, cap_bytes, "VM %s has another uuid here", ours->name);
	else if (theirs->memory_bytes != ours->memory_bytes)
		snprintf(ret_text, cap_bytes, "it has %llu MiB of memory, configured here are %llu",
			 (unsigned long long)(theirs->memory_bytes >> 20),
			 (unsigned long long)(ours->memory_bytes >> 20));
	else if (theirs->cpus != ours->cpus)
		snprintf(ret_text, cap_bytes, "it has %u vCPUs, configured here are %u", theirs->cpus,
			 ours->cpus);
	else if (theirs->devices != ours->devices ||
		 theirs->machine_digest != ours->machine_digest)
		snprintf(ret_text, cap_bytes,
			 "its devices (%u) are not those configured here (%u): disks, interfaces or their addresses differ",
			 theirs->devices, ours->devices);
}
