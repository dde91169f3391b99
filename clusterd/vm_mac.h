/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The MAC address of a VM's network that nobody named one for. */
#ifndef CD_VM_MAC_H
#define CD_VM_MAC_H

#include <string.h>

#include "common/cl_types.h"

/* 52:54:00 and three bytes that the cluster, the VM's name and the net's number give. */
static inline void cd_vm_mac_make(const uint8_t cluster[CL_UUID_BYTES], const char *vm, unsigned index,
				  uint8_t out[6])
{
	uint64_t hash = cl_hash64(index + 1, cluster, CL_UUID_BYTES);

	hash = cl_hash64(hash, vm, strlen(vm));
	out[0] = 0x52;
	out[1] = 0x54;
	out[2] = 0x00;
	out[3] = (uint8_t)(hash >> 16);
	out[4] = (uint8_t)(hash >> 8);
	out[5] = (uint8_t)hash;
}

#endif
