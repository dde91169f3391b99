/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The LUNs of this node: the list for people, and whether one may become a volume. */
#ifndef CD_LUNS_SCSI3PR_H
#define CD_LUNS_SCSI3PR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cd;
struct cd_ipc_call;

struct cd_lun_check {
	uint64_t own_key; /* of this node; 0: not known */
	uint64_t size_bytes;
};

/*
 * Worker.  Looks only: is it here, big enough, does its target do what we need, is it reserved by somebody,
 * does it carry data (refused without force).  0 or -errno with one line.
 */
int cd_lun_check(const char *id, bool force, uint64_t own_key, struct cd_lun_check *ret_check,
		 char *error, size_t cap_bytes);

/* Answers the call with every LUN that this node sees. */
void cd_luns_list(struct cd *cd, struct cd_ipc_call *call);

#endif
