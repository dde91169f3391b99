/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The FUSE front of a volume: /clusterstorage/NAME.  The kernel keeps nothing (attribute and entry
 * time-outs 0, direct_io), so that every node sees what the others did.  Permissions are the
 * kernel's to check (default_permissions).  Decides nothing: it translates to csv_call() and csv_node_*().
 *
 * Locks (fcntl, flock) are the node's own, not the cluster's.
 */
#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>

#include "csv/vol.h"

#include "config.h"
#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "common/cl_wire.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define FRONT_THREADS 24u

#define FOPEN_DIRECT_IO		     (1u << 0)
#define FOPEN_PARALLEL_DIRECT_WRITES (1u << 6)

struct msgs {
	struct csv_rpc_msg m, r;
};

static bool interrupted(void *arg)
{
	return fuse_req_interrupted(arg);
}

static struct csv_vol *vol_of(fuse_req_t req)
{
	csv_call_interrupt_set(interrupted, req);
	return fuse_req_userdata(req);
}

static struct csv_node *node_of(struct csv_vol *v, fuse_ino_t ino)
{
	return ino == FUSE_ROOT_ID ? v->root : (struct csv_node *)(uintptr_t)ino;
}

static struct timespec ts_of(int64_t ns)
{
	struct timespec t = {ns / 1000000000, ns % 1000000000};

	if (t.tv_nsec < 0) {
		t.tv_sec--;
		t.tv_nsec += 1000000000;
	}
	return t;
}

static void stat_of(const struct csv_attr *a, struct stat *st)
{
	memset(st, 0, sizeof(*st));
	st->st_ino = a->fh.ino;
	st->st_mode = a->mode;
	st->st_nlink = a->nlink;
	st->st_uid = a->uid;
	st->st_gid = a->gid;
	st->st_rdev = a->rdev;
	st->st_size = (off_t)a->size;
	st->st_blksize = 1u << 20;
	st->st_blocks = (blkcnt_t)a->blocks;
	st->st_atim = ts_of(a->atime_ns);
	st->st_mtim = ts_of(a->mtime_ns);
	st->st_ctim = ts_of(a->ctime_ns);
}

/* One operation on the stack of messages that every handler needs; NULL: answered ENOMEM. */
static struct msgs *msgs_new(fuse_req_t req)
{
	struct msgs *p = calloc(1, sizeof(*p));

	if (!p)
		fuse_reply_err(req, ENOMEM);
	return p;
}

static bool name_set(fuse_req_t req, struct msgs *p, char *to, const char *name)
{
	if (strlen(name) >= CSV_RPC_NAME_MAX) {
		fuse_reply_err(req, ENAMETOOLONG);
		free(p);
		return false;
	}
	strcpy(to, name);
	return true;
}

static void done(fuse_req_t req, struct msgs *p, int rc)
{
	fuse_reply_err(req, rc < 0 ? -rc : rc > 0 ? EIO : 0);
	free(p);
}

static void reply_entry(fuse_req_t req, struct csv_vol *v, struct msgs *p, int rc)
{
	struct fuse_entry_param e = {0};
	struct csv_node *n;

	if (rc) {
		done(req, p, rc);
		return;
	}
	n = csv_node_get(v, p->r.attr.fh, 1);
	if (!n) {
		done(req, p, -ENOMEM);
		return;
	}
	e.ino = (fuse_ino_t)(uintptr_t)n;
	e.generation = p->r.attr.fh.gen;
	stat_of(&p->r.attr, &e.attr);
	if (fuse_reply_entry(req, &e) == -ENOENT)
		csv_node_forget(v, n, 1);
	free(p);
}

static void front_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct csv_vol *v = vol_of(req);
	struct msgs *p = msgs_new(req);

	if (!p || !name_set(req, p, p->m.name, name))
		return;
	p->m.fh = node_of(v, parent)->fh;
	reply_entry(req, v, p, csv_call(v, CSV_OP_LOOKUP, &p->m, &p->r));
}

static void front_forget(fuse_req_t req, fuse_ino_t ino, uint64_t n)
{
	struct csv_vol *v = fuse_req_userdata(req);

	if (ino != FUSE_ROOT_ID)
		csv_node_forget(v, node_of(v, ino), n);
	fuse_reply_none(req);
}

static void front_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *f)
{
	struct csv_vol *v = fuse_req_userdata(req);

	for (size_t i = 0; i < count; i++)
		if (f[i].ino != FUSE_ROOT_ID)
			csv_node_forget(v, node_of(v, f[i].ino), f[i].nlookup);
	fuse_reply_none(req);
}

static void reply_attr(fuse_req_t req, struct msgs *p, int rc)
{
	struct stat st;

	if (rc) {
		done(req, p, rc);
		return;
	}
	stat_of(&p->r.attr, &st);
	fuse_reply_attr(req, &st, 0);
	free(p);
}

static void front_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct csv_vol *v = vol_of(req);
	struct msgs *p = msgs_new(req);

	if (!p)
		return;
	p->m.fh = node_of(v, ino)->fh;
	reply_attr(req, p, csv_call(v, CSV_OP_GETATTR, &p->m, &p->r));
}

static void front_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set,
			  struct fuse_file_info *fi)
{
	static const struct {
		int fuse;
		uint32_t csv;
	} map[] = {
		{FUSE_SET_ATTR_MODE, CSV_SET_MODE},	  {FUSE_SET_ATTR_UID, CSV_SET_UID},
		{FUSE_SET_ATTR_GID, CSV_SET_GID},	  {FUSE_SET_ATTR_SIZE, CSV_SET_SIZE},
		{FUSE_SET_ATTR_ATIME, CSV_SET_ATIME},	  {FUSE_SET_ATTR_MTIME, CSV_SET_MTIME},
		{FUSE_SET_ATTR_ATIME_NOW, CSV_SET_ATIME_NOW},
		{FUSE_SET_ATTR_MTIME_NOW, CSV_SET_MTIME_NOW},
	};
	struct csv_vol *v = vol_of(req);
	struct msgs *p = msgs_new(req);

	if (!p)
		return;
	p->m.fh = node_of(v, ino)->fh;
	for (size_t i = 0; i < CL_ARRAY_LEN(map); i++)
		if (to_set & map[i].fuse)
			p->m.flags |= map[i].csv;
	p->m.attr.mode = st->st_mode;
	p->m.attr.uid = st->st_uid;
	p->m.attr.gid = st->st_gid;
	p->m.attr.size = (uint64_t)st->st_size;
	p->m.attr.atime_ns = st->st_atim.tv_sec * 1000000000ll + st->st_atim.tv_nsec;
	p->m.attr.mtime_ns = st->st_mtim.tv_sec * 1000000000ll + st->st_mtim.tv_nsec;
	reply_attr(req, p, csv_call(v, CSV_OP_SETATTR, &p->m, &p->r));
}

static void front_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct csv_vol *v = vol_of(req);
	struct msgs *p = msgs_new(req);
	int rc;

	if (!p)
		return;
	p->m.fh = node_of(v, ino)->fh;
	rc = csv_call(v, CSV_OP_READLINK, &p->m, &p->r);
	if (rc) {
		done(req, p, rc);
		return;
	}
	fuse_reply_readlink(req, p->r.text);
	free(p);
}

static void who_set(fuse_req_t req, struct msgs *p, mode_t mode, dev_t rdev)
{
	const struct fuse_ctx *c = fuse_req_ctx(req);

	p->m.mode = mode;
	p->m.uid = c->uid;
	p->m.gid = c->gid;
	p->m.rdev = rdev;
}

static void front_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct csv_vol *v = vol_of(req);
	struct msgs *p = msgs_new(req);

	if (!p || !name_set(req, p, p->m.name, name))
		return;
	p->m.fh = node_of(v, parent)->fh;
	who_set(req, p, mode, rdev);
	reply_entry(req, v, p, csv_call(v, CSV_OP_MKNOD, &p->m, &p->r));
}

static void front_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct csv_vol *v = vol_of(req);
	struct msgs *p = msgs_new(req);

	if (!p || !name_set(req, p, p->m.name, name))
		return;
	p->m.fh = node_of(v, parent)->fh;
	who_set(req, p, mode, 0);
	reply_entry(req, v, p, csv_call(v, CSV_OP_MKDIR, &p->m, &p->r));
}

static void front_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct csv_vol *v = vol_of(req);
	struct msgs *p = msgs_new(req);

	if (!p || !name_set(req, p, p->m.name, name))
		return;
	if (strlen(target) >= sizeof(p->m.text)) {
		done(req, p, -ENAMETOOLONG);
		return;
	}
	strcpy(p->m.text, target);
	p->m.fh = node_of(v, parent)->fh;
	who_set(req, p, 0777, 0);
	reply_entry(req, v, p, csv_call(v, CSV_OP_SYMLINK, &p->m, &p->r));
}

static void front_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct csv_vol *v = vol_of(req);
	struct msgs *p = msgs_new(req);

	if (!p || !name_set(req, p, p->m.name2, name))
		return;
	p->m.fh = node_of(v, ino)->fh;
	p->m.fh2 = node_of(v, parent)->fh;
	reply_entry(req, v, p, csv_call(v, CSV_OP_LINK, &p->m, &p->r));
}

static void front_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct csv_vol *v = vol_of(req);
	struct msgs *p = msgs_new(req);

	if (!p || !name_set(req, p, p->m.name, name))
		return;
	p->m.fh = node_of(v, parent)->fh;
	done(req, p, csv_call(v, CSV_OP_UNLINK, &p->m, &p->r));
}

static void front_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct csv_vol *v = vol_of(req);
	struct msgs *p = msgs_new(req);

	if (!p || !name_set(req, p, p->m.name, name))
		return;
	p->m.fh = node_of(v, parent)->fh;
	done(req, p, csv_call(v, CSV_OP_RMDIR, &p->m, &p->r));
}

static void front_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t parent2,
			 const char *name2, unsigned flags)
{
	struct csv_vol *v = vol_of(req);
	struct msgs *p = msgs_new(req);

	if (!p || !name_set(req, p, p->m.name, name) || !name_set(req, p, p->m.name2, name2))
		return;
	p->m.fh = node_of(v, parent)->fh;
	p->m.fh2 = node_of(v, parent2)->fh;
	p->m.flags = flags;
	done(req, p, csv_call(v, CSV_OP_RENAME, &p->m, &p->r));
}

/*
 * Direct I/O, and writes side by side: nothing here needs the kernel to keep them apart.  Kernels have the flag
 * since 6.2 and in the 6.1 of Debian 12, libfuse only since 3.15: without it the answer is put together here.
 */
static void file_info_set(struct fuse_file_info *fi)
{
	fi->direct_io = 1;
#ifdef HAVE_STRUCT_FUSE_FILE_INFO_PARALLEL_DIRECT_WRITES
	fi->parallel_direct_writes = 1;
#endif
}

static int reply_open(fuse_req_t req, struct fuse_file_info *fi)
{
	file_info_set(fi);
#ifdef HAVE_STRUCT_FUSE_FILE_INFO_PARALLEL_DIRECT_WRITES
	return fuse_reply_open(req, fi);
#else
	/* struct fuse_open_out of linux/fuse.h. An older kernel looks at no flag that it does not know. */
	struct {
		uint64_t fh;
		uint32_t open_flags;
		uint32_t padding;
	} out = {.open_flags = FOPEN_DIRECT_IO | FOPEN_PARALLEL_DIRECT_WRITES};
	struct iovec v = {&out, sizeof(out)};

	return fuse_reply_iov(req, &v, 1);
#endif
}

static void front_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct csv_vol *v = vol_of(req);
	struct csv_node *n = node_of(v, ino);
	int rc = csv_node_open(v, n, false);

	if (rc) {
		fuse_reply_err(req, rc < 0 ? -rc : EIO);
		return;
	}
	if (reply_open(req, fi) == -ENOENT)
		csv_node_close(v, n);
}

static void front_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
			 struct fuse_file_info *fi)
{
	struct csv_vol *v = vol_of(req);
	struct msgs *p = msgs_new(req);
	struct fuse_entry_param e = {0};
	struct csv_node *n;
	int rc;

	if (!p || !name_set(req, p, p->m.name, name))
		return;
	p->m.fh = node_of(v, parent)->fh;
	who_set(req, p, S_IFREG | (mode & 07777), 0);
	p->m.flags = (uint32_t)fi->flags & O_EXCL;
	rc = csv_call(v, CSV_OP_CREATE, &p->m, &p->r);
	n = rc ? NULL : csv_node_get(v, p->r.attr.fh, 1);
	if (!rc)
		rc = n ? csv_node_open(v, n, true) : -ENOMEM;
	if (rc) {
		done(req, p, rc);
		return;
	}
	e.ino = (fuse_ino_t)(uintptr_t)n;
	e.generation = p->r.attr.fh.gen;
	stat_of(&p->r.attr, &e.attr);
	file_info_set(fi);
	if (fuse_reply_create(req, &e, fi) == -ENOENT) {
		csv_node_close(v, n);
		csv_node_forget(v, n, 1);
	}
	free(p);
}

static void front_release(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct csv_vol *v = fuse_req_userdata(req);

	/* Nobody waits for it: never interrupted. */
	csv_call_interrupt_set(NULL, NULL);
	csv_node_close(v, node_of(v, ino));
	fuse_reply_err(req, 0);
}

static void front_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		       struct fuse_file_info *fi)
{
	struct csv_vol *v = vol_of(req);
	const void *data;
	ssize_t n = csv_node_read(v, node_of(v, ino), (uint64_t)off, size, &data);

	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_buf(req, data, (size_t)n);
}

static void front_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
			struct fuse_file_info *fi)
{
	struct csv_vol *v = vol_of(req);
	ssize_t n = csv_node_write(v, node_of(v, ino), (uint64_t)off, buf, size,
				   fi->flags & O_APPEND, fi->flags & (O_SYNC | O_DSYNC));

	if (n < 0)
		fuse_reply_err(req, (int)-n);
	else
		fuse_reply_write(req, (size_t)n);
}

static void front_fsync(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	struct csv_vol *v = vol_of(req);
	int rc = csv_node_fsync(v, node_of(v, ino));

	fuse_reply_err(req, rc < 0 ? -rc : 0);
}

/* Metadata is on the LUN before it is answered. */
static void front_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

static void front_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	fuse_reply_err(req, 0);
}

static void front_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			  struct fuse_file_info *fi)
{
	struct csv_vol *v = vol_of(req);
	CL_CLEANUP_FREE char *out = malloc(size);
	struct msgs *p = msgs_new(req);
	struct cl_reader rd;
	size_t used = 0;
	int rc;

	if (!p)
		return;
	p->m.fh = node_of(v, ino)->fh;
	p->m.off = (uint64_t)off;
	p->m.len = size;
	rc = out ? csv_call(v, CSV_OP_READDIR, &p->m, &p->r) : -ENOMEM;
	if (rc) {
		done(req, p, rc);
		return;
	}
	cl_reader_init(&rd, p->r.data, p->r.data_bytes);
	while (cl_reader_left(&rd)) {
		char name[CSV_RPC_NAME_MAX];
		struct stat st = {0};
		off_t next;
		size_t n;

		st.st_ino = cl_read_u64(&rd);
		next = (off_t)cl_read_u64(&rd);
		st.st_mode = (mode_t)cl_read_u8(&rd) << 12;
		cl_read_str(&rd, name, sizeof(name));
		if (rd.bad)
			break;
		n = fuse_add_direntry(req, out + used, size - used, name, &st, next);
		if (n > size - used)
			break;
		used += n;
	}
	fuse_reply_buf(req, out, used);
	free(p);
}

static void front_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct csv_vol *v = vol_of(req);
	struct msgs *p = msgs_new(req);
	struct statvfs s = {.f_namemax = 255};
	int rc;

	if (!p)
		return;
	rc = csv_call(v, CSV_OP_STATFS, &p->m, &p->r);
	if (rc) {
		done(req, p, rc);
		return;
	}
	s.f_bsize = s.f_frsize = p->r.statfs.bsize;
	s.f_blocks = p->r.statfs.blocks;
	s.f_bfree = p->r.statfs.bfree;
	s.f_bavail = p->r.statfs.bavail;
	s.f_files = p->r.statfs.files;
	s.f_ffree = s.f_favail = p->r.statfs.ffree;
	fuse_reply_statfs(req, &s);
	free(p);
}

static void front_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t off, off_t len,
			    struct fuse_file_info *fi)
{
	struct csv_vol *v = vol_of(req);
	struct msgs *p = msgs_new(req);

	if (!p)
		return;
	p->m.fh = node_of(v, ino)->fh;
	p->m.flags = (uint32_t)mode;
	p->m.off = (uint64_t)off;
	p->m.len = (uint64_t)len;
	done(req, p, csv_call(v, CSV_OP_FALLOCATE, &p->m, &p->r));
}

static void front_init(void *userdata, struct fuse_conn_info *conn)
{
	/* The kernel truncates by setattr, which recalls; and asks again for what others may change. */
	conn->want &= ~(unsigned)(FUSE_CAP_ATOMIC_O_TRUNC | FUSE_CAP_WRITEBACK_CACHE |
				  FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_READDIRPLUS |
				  FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_FLOCK_LOCKS |
				  FUSE_CAP_POSIX_LOCKS);
	conn->max_write = CSV_RPC_DATA_MAX;
	conn->max_read = 0;
}

static const struct fuse_lowlevel_ops front_ops = {
	.init = front_init,
	.lookup = front_lookup,
	.forget = front_forget,
	.forget_multi = front_forget_multi,
	.getattr = front_getattr,
	.setattr = front_setattr,
	.readlink = front_readlink,
	.mknod = front_mknod,
	.mkdir = front_mkdir,
	.symlink = front_symlink,
	.link = front_link,
	.unlink = front_unlink,
	.rmdir = front_rmdir,
	.rename = front_rename,
	.open = front_open,
	.create = front_create,
	.release = front_release,
	.read = front_read,
	.write = front_write,
	.fsync = front_fsync,
	.fsyncdir = front_fsyncdir,
	.flush = front_flush,
	.readdir = front_readdir,
	.statfs = front_statfs,
	.fallocate = front_fallocate,
};

static void *front_main(void *arg)
{
	struct csv_vol *v = arg;
	struct fuse_loop_config *c = fuse_loop_cfg_create();

	fuse_loop_cfg_set_max_threads(c, FRONT_THREADS);
	fuse_loop_cfg_set_idle_threads(c, FRONT_THREADS);
	(void)fuse_session_loop_mt(v->fuse, c);
	fuse_loop_cfg_destroy(c);
	return NULL;
}

int csv_front_mount(struct csv_vol *v, char *error)
{
	char options[CL_NAME_MAX + 96];
	char *argv[] = {"csvd", "-o", options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, argv);
	struct stat st;

	/* The root's handle is learnt at the first use; 0 stands for it. */
	v->root = csv_node_get(v, (struct csv_fh){0}, 1);
	if (!v->root)
		return -ENOMEM;
	/* A killed csvd leaves a mount whose every use is ENOTCONN. */
	while (stat(v->path, &st) && errno == ENOTCONN) {
		if (umount2(v->path, MNT_DETACH))
			break;
	}
	if (mkdir(v->path, 0755) && errno != EEXIST) {
		snprintf(error, CSVD_TEXT, "%s: %s", v->path, strerror(errno));
		return -errno;
	}
	snprintf(options, sizeof(options),
		 "allow_other,default_permissions,fsname=holdfast:%s,subtype=csv", v->name);
	v->fuse = fuse_session_new(&args, &front_ops, sizeof(front_ops), v);
	if (!v->fuse) {
		snprintf(error, CSVD_TEXT, "no FUSE session");
		return -EIO;
	}
	if (fuse_session_mount(v->fuse, v->path)) {
		snprintf(error, CSVD_TEXT, "cannot mount %s", v->path);
		fuse_session_destroy(v->fuse);
		v->fuse = NULL;
		return -EIO;
	}
	if (pthread_create(&v->fuse_thread, NULL, front_main, v)) {
		fuse_session_unmount(v->fuse);
		fuse_session_destroy(v->fuse);
		v->fuse = NULL;
		return -EAGAIN;
	}
	v->mounted = true;
	return 0;
}

int csv_front_umount(struct csv_vol *v, bool force)
{
	struct timespec until;

	if (!v->mounted)
		return 0;
	if (umount2(v->path, force ? MNT_DETACH : 0))
		return -errno;
	/* The kernel has closed the connection: the loop ends by itself.  Not so while someone has a file open (force). */
	fuse_session_exit(v->fuse);
	clock_gettime(CLOCK_REALTIME, &until);
	until.tv_sec += 5;
	if (force && pthread_timedjoin_np(v->fuse_thread, NULL, &until)) {
		cl_warning("volume %s: unmounted while in use", v->name);
		pthread_detach(v->fuse_thread);
	} else {
		if (!force)
			pthread_join(v->fuse_thread, NULL);
		fuse_session_unmount(v->fuse);
		fuse_session_destroy(v->fuse);
	}
	v->fuse = NULL;
	v->mounted = false;
	(void)rmdir(v->path);
	return 0;
}
