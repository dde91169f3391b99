/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages between libcsv and csvd over the local SOCK_SEQPACKET socket (docs/formats/csv-local.md).  Every message has
 * every field, in this order.  A file descriptor may travel with a reply or an event.  Pure.
 */
#ifndef CSV_LOCAL_H
#define CSV_LOCAL_H

#include "common/cl_types.h"

#include <stddef.h>
#include <stdint.h>

#define CSV_LOCAL_VERSION 1u
#define CSV_LOCAL_MAX	  8192u /* bytes of a message */
#define CSV_LOCAL_PATH	  4096u
#define CSV_LOCAL_SECRET  33u

enum csv_local_type {
	CSV_LOCAL_HELLO = 1, /* vm, secret ("" the first time) */
	CSV_LOCAL_PREPARE,   /* disk, volume, path, timeout_ms */
	CSV_LOCAL_ACTIVATE,  /* disk, generation, timeout_ms */
	CSV_LOCAL_CLOSE,     /* disk */
	CSV_LOCAL_RESUME,    /* disk, volume, path, generation: had it from a csvd before */
	CSV_LOCAL_REPLY,     /* id, rc, mode, size, secret, fd */
	CSV_LOCAL_EVENT,     /* disk, event, mode, fd */
	CSV_LOCAL_COUNT,
};

struct csv_local_msg {
	enum csv_local_type type;
	uint32_t id;
	uint32_t disk; /* the client's number of it */
	int32_t rc;
	uint32_t event;
	uint32_t mode;
	uint32_t timeout_ms;
	uint64_t generation;
	uint64_t size;
	char vm[CL_NAME_MAX];
	char secret[CSV_LOCAL_SECRET];
	char volume[CL_NAME_MAX];
	char path[CSV_LOCAL_PATH];
};

/* Bytes or -EMSGSIZE. */
long csv_local_encode(const struct csv_local_msg *msg, void *buf, size_t cap_bytes);
/* 0 or -EBADMSG. */
int csv_local_decode(const void *buf, size_t len_bytes, struct csv_local_msg *ret_msg);

#endif
