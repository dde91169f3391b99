/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Disk images by the owner: preallocated and written with zeros in full, so that one layout covers the file from
 * its first use.
 */
#include "csv/vol.h"

#include "common/cl_cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CHUNK (64ull << 20)
#define IMAGE_UID 0u

struct msgs {
	struct csv_rpc_msg m, r;
};

static void msg_clear(struct msgs *p)
{
	memset(&p->m, 0, sizeof(p->m));
}

/*
 * Splits path into a folder, found or (make) made, and a last component.  0 or -errno.
 */
static int folder_find(struct csv_vol *v, struct msgs *p, const char *path, bool make,
		       struct csv_fh *ret_dir, const char **ret_name)
{
	struct csv_fh dir = {0};

	while (*path == '/')
		path++;
	for (;;) {
		const char *slash = strchr(path, '/');
		size_t len = slash ? (size_t)(slash - path) : strlen(path);
		int rc;

		msg_clear(p);
		if (len >= sizeof(p->m.name))
			return -ENAMETOOLONG;
		memcpy(p->m.name, path, len);
		if (!csv_component_valid(p->m.name))
			return -EINVAL;
		if (!slash) {
			*ret_dir = dir;
			*ret_name = path;
			return 0;
		}
		p->m.fh = dir;
		rc = csv_call(v, CSV_OP_LOOKUP, &p->m, &p->r);
		if (rc == -ENOENT && make) {
			p->m.mode = 0755;
			rc = csv_call(v, CSV_OP_MKDIR, &p->m, &p->r);
		}
		if (rc)
			return rc;
		if (!S_ISDIR(p->r.attr.mode))
			return -ENOTDIR;
		dir = p->r.attr.fh;
		path = slash + strspn(slash, "/");
	}
}

static int image_fill(struct csv_vol *v, struct msgs *p, struct csv_fh fh, uint64_t size,
		      csv_progress fn, void *arg)
{
	int rc;

	msg_clear(p);
	p->m.fh = fh;
	p->m.len = size;
	rc = csv_call(v, CSV_OP_FALLOCATE, &p->m, &p->r);
	for (uint64_t off = 0; !rc && off < size; off += CHUNK) {
		p->m.off = off;
		p->m.len = size - off < CHUNK ? size - off : CHUNK;
		rc = csv_call(v, CSV_OP_ZEROFILL, &p->m, &p->r);
		if (!rc && fn)
			fn(arg, off + p->m.len);
	}
	return rc ? rc : csv_call(v, CSV_OP_FSYNC, &p->m, &p->r);
}

int csv_file_create(struct csv_vol *v, const char *path, uint64_t size, csv_progress fn, void *arg,
		    char *error)
{
	CL_CLEANUP_FREE struct msgs *p = calloc(1, sizeof(*p));
	struct csv_node *n;
	const char *name;
	struct csv_fh dir, fh;
	int rc;

	if (!p)
		return -ENOMEM;
	size = (size + 4095) / 4096 * 4096;
	rc = folder_find(v, p, path, true, &dir, &name);
	if (!rc) {
		msg_clear(p);
		p->m.fh = dir;
		snprintf(p->m.name, sizeof(p->m.name), "%s", name);
		p->m.mode = S_IFREG | 0600;
		p->m.uid = p->m.gid = IMAGE_UID;
		p->m.flags = O_EXCL;
		rc = csv_call(v, CSV_OP_CREATE, &p->m, &p->r);
	}
	if (rc) {
		snprintf(error, CSVD_TEXT, "%s/%.200s: %s", v->name, path, strerror(-rc));
		return rc;
	}
	fh = p->r.attr.fh;
	n = csv_node_get(v, fh, 1);
	rc = n ? csv_node_open(v, n, true) : -ENOMEM;
	if (!rc) {
		rc = image_fill(v, p, fh, size, fn, arg);
		csv_node_close(v, n);
	}
	if (n)
		csv_node_forget(v, n, 1);
	if (rc) {
		snprintf(error, CSVD_TEXT, "%s/%.200s: %llu bytes: %s", v->name, path,
			 (unsigned long long)size, strerror(-rc));
		msg_clear(p);
		p->m.fh = dir;
		snprintf(p->m.name, sizeof(p->m.name), "%s", name);
		(void)csv_call(v, CSV_OP_UNLINK, &p->m, &p->r);
	}
	return rc;
}

int csv_file_delete(struct csv_vol *v, const char *path, char *error)
{
	CL_CLEANUP_FREE struct msgs *p = calloc(1, sizeof(*p));
	const char *name;
	struct csv_fh dir;
	int rc;

	if (!p)
		return -ENOMEM;
	rc = folder_find(v, p, path, false, &dir, &name);
	if (!rc) {
		msg_clear(p);
		p->m.fh = dir;
		snprintf(p->m.name, sizeof(p->m.name), "%s", name);
		rc = csv_call(v, CSV_OP_UNLINK, &p->m, &p->r);
	}
	if (rc)
		snprintf(error, CSVD_TEXT, "%s/%.200s: %s", v->name, path,
			 rc == -ETXTBSY ? "in use by a VM" : strerror(-rc));
	return rc;
}

int csv_file_disown(struct csv_vol *v, const char *path, const char *vm, char *error)
{
	CL_CLEANUP_FREE struct msgs *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return -ENOMEM;
	msg_clear(p);
	snprintf(p->m.text, sizeof(p->m.text), "%s", path);
	rc = csv_call(v, CSV_OP_RESOLVE, &p->m, &p->r);
	if (!rc) {
		msg_clear(p);
		p->m.fh = p->r.attr.fh;
		snprintf(p->m.vm, sizeof(p->m.vm), "%s", vm);
		rc = csv_call(v, CSV_OP_XDISOWN, &p->m, &p->r);
	}
	if (rc)
		snprintf(error, CSVD_TEXT, "%s/%.200s: %s", v->name, path,
			 rc == -ETXTBSY ? "in use by a VM" :
			 rc == -EPERM	? "it is the disk of another VM" :
					  strerror(-rc));
	return rc;
}
