/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvd's objects: the daemon, a volume on this node, a file that the FUSE front knows, a VM's disk.
 * Shared by csvd's own files only.
 *
 * Locks, outermost first: csvd->lock, vol->admin (verbs of one volume, one at a time), node->io,
 * vol->owner_lock, vol->lock.  No lock but node->io for writing is held across an RPC, and that one only by nobody:
 * a recall takes it.
 */
#ifndef CSV_VOL_H
#define CSV_VOL_H

#include "common/cl_ctl.h"
#include "common/cl_gate.h"
#include "common/cl_tls.h"
#include "common/cl_types.h"
#include "csv/grants.h"
#include "csv/lun.h"
#include "csv/map.h"
#include "csv/owner.h"
#include "csv/layout.h"
#include "csv/proto.h"
#include "csv/state.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#define CSVD_TEXT    512u
#define CSVD_BUCKETS 4096u
#define CSVD_ADDRESS 64u
#define CSVD_PATH    256u

struct csv_vol;
struct csv_disk;

struct csvd_member {
	char name[CL_NAME_MAX]; /* "" = no such node */
	char address[CSVD_ADDRESS];
};

struct csvd {
	pthread_mutex_t lock;
	uint32_t node; /* 0 until configured */
	char name[CL_NAME_MAX];
	char address[CSVD_ADDRESS];
	uint64_t epoch;
	struct csvd_member members[CL_NODES_MAX];
	struct csv_vol *vols; /* attached; a volume is freed only by detach */
	uint64_t instance;
	char run_dir[CSVD_PATH];
	char state_dir[CSVD_PATH];
	char storage_dir[CSVD_PATH];
	struct cl_ctl_server *ctl;
	struct cl_tls_creds *creds;
	uint32_t patience_ms; /* how long a device that does not do what it is told is told again; 0: 50 s */
	int rpc_fd;  /* listening, -1 */
	int disk_fd; /* csv.sock */
	struct cl_gate rpc_members, rpc_others; /* until the HELLO has been answered */
	struct cl_gate disk_knocks;		/* until a HELLO with a good secret; not root */
	struct cl_gate disk_sessions;		/* as long as they last; not root */
};

/* One outstanding operation. Slot 0 is the link thread's. */
struct csv_slot {
	bool busy;
	uint64_t seq;
	struct cl_tls *tls; /* pointer under vol->lock; used by who has the slot */
	uint64_t link;	    /* that tls belongs to */
};

/* A file or folder that the kernel, an open or a disk knows. */
struct csv_node {
	struct csv_node *next;
	struct csv_fh fh;
	uint64_t lookups; /* under vol->lock, as are opens */
	unsigned opens;
	pthread_mutex_t open_lock; /* one OPEN or CLOSE at a time */
	bool opened;		   /* the owner knows; under open_lock */
	pthread_rwlock_t io;	   /* read: direct I/O in flight; write: the layout changes */
	bool has_layout;
	bool rw;
	bool wrote;	 /* directly, since the owner was last told */
	uint64_t seq;	 /* of the layout */
	uint64_t recall_seq;
	uint64_t next_try_ms;
	struct csv_wire_extent *extents;
	size_t n_extents;
};

/* What a volume's file system had free when its owner was last asked. */
struct csv_space {
	uint64_t bytes, free_bytes;
	uint64_t since_ms; /* 0: never */
};

struct csv_vol {
	struct csv_vol *next;
	struct csvd *d;
	char name[CL_NAME_MAX];
	uint8_t uuid[CL_UUID_BYTES];
	char lun[128];
	char device[128];
	uint64_t prkey;
	char path[CSVD_PATH + CL_NAME_MAX]; /* of the FUSE mount */
	char data_name[CSV_MAP_NAME_MAX];
	struct csv_map_backing backing;
	dev_t data_dev;
	int data_fd; /* the data partition, O_DIRECT */

	pthread_mutex_t admin;
	pthread_rwlock_t owner_lock;
	struct csv_owner *owner; /* under owner_lock: this node owns it */

	pthread_mutex_t lock;
	pthread_cond_t cond;
	struct csv_volume_state state;
	char owner_address[CSVD_ADDRESS];
	struct csv_grants *grants; /* clusterd's newest table, or NULL */
	uint64_t link; /* one up at each change of the connection */
	struct cl_tls *recall_tls;
	struct csv_slot slots[CSV_RPC_SLOTS];
	struct csv_node *buckets[CSVD_BUCKETS];
	struct csv_node *root;
	struct csv_disk *disks;
	unsigned n_opens, n_layouts;
	bool stopping;
	bool downed;   /* csvd_down() has begun, whoever noticed first that the node is fenced */
	bool data_cut_again; /* the data device could not be put down; csvd_tick() tries again */
	struct csv_space space;
	pthread_t link_thread;

	struct fuse_session *fuse;
	pthread_t fuse_thread;
	bool mounted;
};

uint64_t csvd_now_ms(void);
/* Borrowed while the volume is attached, or NULL. */
struct csv_vol *csvd_vol_find(struct csvd *d, const char *name);

/* The first (v NULL) or the next; a volume that goes meanwhile is still there to be walked over. */
struct csv_vol *csvd_vol_next(struct csvd *d, const struct csv_vol *v);

/* How the link thread asks the owner before the volume is active. */
typedef int (*csv_caller)(struct csv_vol *v, enum csv_rpc_op op, const struct csv_rpc_msg *msg,
			  struct csv_rpc_msg *ret_reply);

/* ---- client_linux.c: the way to the owner ---- */

/* Starts and stops the thread that keeps the connection. */
int csv_link_start(struct csv_vol *v);
void csv_link_stop(struct csv_vol *v);
/* A fact about the volume; wakes who waits and tells clusterd of a change. */
void csv_vol_input(struct csv_vol *v, enum csv_input in, uint64_t n, uint64_t term,
		   const char *text);
/* Who owns from now on. */
void csv_vol_owner_set(struct csv_vol *v, uint32_t owner, uint64_t term, const char *address);
/*
 * Does one operation, however often the owner changes meanwhile.  Blocks while there is none.
 * 0, -errno of the operation, CSV_STATUS_RECALL; -ENODEV detaching, -EIO down, -EINTR interrupted while waiting.
 * The reply's data is this thread's and valid until its next call.
 */
int csv_call(struct csv_vol *v, enum csv_rpc_op op, const struct csv_rpc_msg *msg,
	     struct csv_rpc_msg *ret_reply);
/* The same with a bound for the wait for an owner: -EAGAIN. */
int csv_call_timeout(struct csv_vol *v, enum csv_rpc_op op, const struct csv_rpc_msg *msg,
		     struct csv_rpc_msg *ret_reply, int timeout_ms);
/* Asked of while a call waits: true ends it with -EINTR. One a thread. */
void csv_call_interrupt_set(bool (*fn)(void *arg), void *arg);

/* ---- space_linux.c: what is free, for people ---- */

void csv_space_start(struct csv_vol *v);
/* {total, free, age_ms} or null: not known yet. */
json_t *csv_space_status(struct csv_vol *v);

/* ---- node_linux.c: files of the FUSE front ---- */

/* Finds or makes it; lookups is raised by n. NULL: no memory. */
struct csv_node *csv_node_get(struct csv_vol *v, struct csv_fh fh, uint64_t n);
void csv_node_forget(struct csv_vol *v, struct csv_node *node, uint64_t n);
/* The first open tells the owner; opened: it knows already (CREATE, PREPARE). */
int csv_node_open(struct csv_vol *v, struct csv_node *node, bool opened);
void csv_node_close(struct csv_vol *v, struct csv_node *node);
/* Bytes or -errno. *ret_data is this thread's until its next call. */
ssize_t csv_node_read(struct csv_vol *v, struct csv_node *node, uint64_t off, size_t len,
		      const void **ret_data);
ssize_t csv_node_write(struct csv_vol *v, struct csv_node *node, uint64_t off, const void *data,
		       size_t len, bool append, bool sync);
int csv_node_fsync(struct csv_vol *v, struct csv_node *node);
/* Waits for its direct I/O and drops its layout. True if it wrote since the owner was told. */
bool csv_node_recall(struct csv_vol *v, struct csv_fh fh, uint64_t seq);
/* Of every file. renumber: before a reclaim, since the numbers of a new owner start anew. */
void csv_nodes_layouts_drop(struct csv_vol *v, bool renumber);
/* Tells a new owner of every open file; by the link thread with its own call. */
int csv_nodes_reclaim(struct csv_vol *v, csv_caller call);
void csv_nodes_free(struct csv_vol *v);

/* ---- disk_dm.c, diskevent_dm.c, diskadopt_dm.c: disks of VMs ---- */

#define CSV_SECRET_MAX 33u /* hex, with NUL */

/* What happens to an active disk; enum csv_event of libcsv.h. fd (borrowed) goes with CHANGED, else -1. */
typedef void (*csv_disk_notify)(void *arg, struct csv_disk *disk, int event, int fd, int mode);

struct csv_disk {
	struct csv_disk *next; /* list and all below under vol->lock unless said otherwise */
	struct csv_vol *v;
	struct csv_node *node; /* open while the disk is */
	char path[CSV_RPC_TEXT_MAX];
	char vm[CL_NAME_MAX];
	char secret[CSV_SECRET_MAX];
	char map[CSV_MAP_NAME_MAX]; /* "" while there is no device */
	uint64_t size;
	uint64_t generation;
	/* Why the last XOPEN was refused; generation 0: it was not, or the owner did not say. */
	struct csv_xrecord refused;
	uint64_t version;    /* of the map that the device has; 0 none */
	uint64_t seq;	     /* of the exclusive layout */
	uint64_t recall_seq; /* highest recall heard */
	int mode;	     /* enum csv_disk_mode */
	bool active;	     /* admitted by the owner */
	bool held;	     /* its device may be used: a layout of the owner's */
	unsigned users;	     /* threads that work on it; its close waits for them */
	uint64_t told_link;  /* reclaimed over this connection */
	bool adopted;	     /* of a csvd before this one; nobody has claimed it yet */
	pthread_mutex_t dm;  /* one change of the device at a time; outside vol->lock */
	bool cut;	     /* changes under dm: to be cut off, which failed: again by csv_disks_tidy() */
	char journal[CSV_MAP_NAME_MAX]; /* name of its entry, the same for its whole life; "": none yet */
	pid_t pid;	     /* of the vmm, and when that process began (0: not known) */
	uint64_t pid_start;
	int pidfd;	     /* of the vmm, or -1 */
	csv_disk_notify notify;
	void *notify_arg;
};

int csv_disk_prepare_srv(struct csv_vol *v, const char *path, const char *vm, const char *secret,
			 int timeout_ms, struct csv_disk **ret_disk);
/* *ret_fd is the caller's to close. */
int csv_disk_activate_srv(struct csv_disk *disk, uint64_t generation, int timeout_ms, int *ret_fd);
void csv_disk_close_srv(struct csv_disk *disk);
/* A vmm that reconnects: the disk it had, claimed, or NULL. */
struct csv_disk *csv_disk_claim(struct csvd *d, const char *volume, const char *path,
				const char *vm, const char *secret);
/* True if such a secret was given to that VM by a csvd before this one. */
bool csv_disk_secret_known(struct csvd *d, const char *vm, const char *secret);
/* Nobody listens any more, but the device may still be in use: kept as adopted. */
void csv_disk_unclaim(struct csv_disk *disk);
/* Closes adopted disks whose device nobody has open. */
void csv_disks_tidy(struct csvd *d);

/*
 * 1: it had the file and wrote, and its device is cut off now; 0: it had not; -errno: the device may still write,
 * and the recall must not be answered.
 */
int csv_disks_recall(struct csv_vol *v, struct csv_fh fh, uint64_t seq);
int csv_disks_reclaim(struct csv_vol *v, csv_caller call);
void csv_disks_down(struct csv_vol *v);
void csv_disks_redirect(struct csv_vol *v, bool on);
/* Names of VMs that have disks open here, for an error message; number of disks. */
unsigned csv_disks_users(struct csv_vol *v, char *ret_text, size_t cap_bytes);
json_t *csv_disks_status(struct csv_vol *v);
/*
 * Takes over what a csvd that was killed left of this volume; what is left and in no journal is put down.  -errno:
 * it is not known what is left, and the volume must not be served.
 */
int csv_disks_adopt(struct csv_vol *v, char *error);
/* Of a volume that was never served: nothing but the memory. */
void csv_disks_free(struct csv_vol *v);

/* ---- disksock_linux.c ---- */

/* A vmm has one; a second one comes before the end of the first is seen. */
#define CSV_SESSIONS_A_UID  4u
#define CSV_SESSIONS	    1024u /* 256 VMs on a node */
#define CSV_KNOCKS	    64u
#define CSV_SOCK_HELLO_MS   10000u

int csv_disksock_start(struct csvd *d);

/* ---- front_fuse.c ---- */
int csv_front_mount(struct csv_vol *v, char *error);
/* -EBUSY: still in use. */
int csv_front_umount(struct csv_vol *v, bool force);

/* ---- rpc_linux.c: the owner's side of the wire ---- */

#define CSV_HANDSHAKES	      64u /* of addresses that are no member's */
#define CSV_HANDSHAKES_ONE    8u
/* A node that comes back opens a connection for each slot of its volumes at once. */
#define CSV_HANDSHAKES_MEMBER ((CSV_RPC_SLOTS + 1u) * 16u)
int csv_rpc_start(struct csvd *d, char *error);
/* One message; thread-local buffers. 0 or -errno. */
int csv_rpc_send(struct cl_tls *tls, struct csv_rpc_hdr *hdr, const struct csv_rpc_msg *msg);
int csv_rpc_recv(struct cl_tls *tls, struct csv_rpc_hdr *ret_hdr, struct csv_rpc_msg *ret_msg);
void csv_rpc_keepalive(int fd);
/* This thread's buffer of CSV_OWNER_BUF bytes, aligned. which: 0..2 */
void *csv_thread_buf(unsigned which);

/* ---- control_linux.c: the verbs ---- */
void csvd_control(void *arg, struct cl_ctl_request req, const char *verb, const json_t *msg,
		  uid_t uid, pid_t pid);

/* ---- attach_linux.c: life of a volume on this node ---- */
struct csv_attach {
	const char *volume, *uuid, *lun, *device;
	uint64_t prkey;
};
/* Positive errno in the style of cl_ctl_reply_error() is the caller's affair: 0 or -errno, error filled in. */
int csvd_attach(struct csvd *d, const struct csv_attach *a, char *error);
int csvd_detach(struct csv_vol *v, bool force, char *error);
/* Takes over the table; the newest counts. 0 or -ENOMEM. */
int csvd_grants(struct csv_vol *v, struct csv_grants *grants);
int csvd_own(struct csv_vol *v, uint64_t term, uint32_t members, bool fresh, char *error);
int csvd_release(struct csv_vol *v, uint64_t term, char *error);
/* Nothing may be written from here any more: once, whatever the volume's state says already. Any thread. */
void csvd_down(struct csv_vol *v, const char *reason);
/* The same in a thread of its own, for who holds locks; does nothing after the first. */
void csvd_down_start(struct csv_vol *v, const char *reason);
/* Once in a while: paths that came back, disks that nobody uses. */
void csvd_tick(struct csvd *d);

/* ---- fileops_linux.c: images ---- */
typedef void (*csv_progress)(void *arg, uint64_t done_bytes);
int csv_file_create(struct csv_vol *v, const char *path, uint64_t size, csv_progress fn, void *arg,
		    char *error);
int csv_file_delete(struct csv_vol *v, const char *path, char *error);
/* The file is the disk of that VM no more: another may have it, it may be renamed and linked. */
int csv_file_disown(struct csv_vol *v, const char *path, const char *vm, char *error);

#endif
