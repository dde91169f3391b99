/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * csvd's side of libcsv: $RUN/csv.sock.  A thread a vmm.  Root may ask for any disk; who is not
 * root only resumes what the secret proves it had (csvd was started anew, the vmm had dropped its privileges).
 */
#include "csv/vol.h"

#include "common/cl_cleanup.h"
#include "common/cl_log.h"
#include "csv/disk_priv.h"
#include "csv/diskjournal.h"
#include "csv/libcsv.h"
#include "csv/localio.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#define DISKS_MAX 64u
#define GRACE_MS  3000u /* a silent one's, when others wait */

struct session {
	struct csvd *d;
	int sock;
	uid_t uid;
	pid_t pid;
	uint64_t pid_start;
	int knock, place; /* tickets of the gates; -1 none */
	bool greeted;
	char vm[CL_NAME_MAX];
	char secret[CSV_SECRET_MAX];
	struct csv_disk *disks[DISKS_MAX]; /* by the client's number */
};

/* Called under the volume's lock: never blocks. A client that does not read loses the event and the session. */
static void on_event(void *arg, struct csv_disk *disk, int event, int fd, int mode)
{
	struct session *s = arg;
	struct csv_local_msg *m = calloc(1, sizeof(*m));

	for (uint32_t i = 0; m && i < DISKS_MAX; i++) {
		if (s->disks[i] != disk)
			continue;
		m->type = CSV_LOCAL_EVENT;
		m->disk = i;
		m->event = (uint32_t)event;
		m->mode = (uint32_t)mode;
		if (csv_local_send(s->sock, m, fd, MSG_DONTWAIT))
			(void)shutdown(s->sock, SHUT_RDWR);
	}
	free(m);
}

static void listen_to(struct session *s, uint32_t number, struct csv_disk *disk)
{
	pthread_mutex_lock(&disk->v->lock);
	s->disks[number] = disk;
	disk->notify = on_event;
	disk->notify_arg = s;
	if (disk->pidfd < 0) {
		disk->pidfd = (int)syscall(SYS_pidfd_open, s->pid, 0);
		disk->pid = s->pid;
		disk->pid_start = s->pid_start;
	}
	pthread_mutex_unlock(&disk->v->lock);
}

static void disk_forget(struct session *s, uint32_t number)
{
	struct csv_disk *disk = s->disks[number];

	pthread_mutex_lock(&disk->v->lock);
	disk->notify = NULL;
	s->disks[number] = NULL;
	pthread_mutex_unlock(&disk->v->lock);
}

static int secret_make(char *ret_text)
{
	uint8_t raw[16];

	if (getrandom(raw, sizeof(raw), 0) != sizeof(raw))
		return -EIO;
	for (unsigned i = 0; i < sizeof(raw); i++)
		snprintf(ret_text + 2 * i, 3, "%02x", raw[i]);
	return 0;
}

static void hello_wait(int sock, unsigned ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	(void)setsockopt(sock, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv));
}

static int do_hello(struct session *s, const struct csv_local_msg *m, struct csv_local_msg *r)
{
	if (s->greeted || !cl_name_valid(m->vm))
		return -EINVAL;
	/*
	 * Root keeps the secret that it brings: after a restart it is here before its volume is attached, and
	 * with another one its disk would not be claimed but opened anew, a second device beside the one in use.
	 */
	if (csv_disk_secret_known(s->d, m->vm, m->secret) || (!s->uid && m->secret[0]))
		memcpy(s->secret, m->secret, sizeof(s->secret));
	else if (s->uid != 0)
		return -EACCES;
	else if (secret_make(s->secret))
		return -EIO;
	memcpy(s->vm, m->vm, sizeof(s->vm));
	memcpy(r->secret, s->secret, sizeof(r->secret));
	s->greeted = true;
	hello_wait(s->sock, 0);
	cl_gate_leave(&s->d->disk_knocks, s->knock);
	s->knock = -1;
	return 0;
}

/* The logical block size of a volume's LUN; a file in its place (tests) takes 512. */
static uint32_t block_bytes(const struct csv_vol *v)
{
	int bytes = 0;

	return ioctl(v->data_fd, BLKSSZGET, &bytes) == 0 && bytes > 0 ? (uint32_t)bytes : 512;
}

static int do_prepare(struct session *s, const struct csv_local_msg *m, struct csv_local_msg *r)
{
	struct csv_vol *v = csvd_vol_find(s->d, m->volume);
	struct csv_disk *disk;
	int rc;

	if (s->uid != 0)
		return -EACCES;
	if (m->disk >= DISKS_MAX || s->disks[m->disk])
		return -EINVAL;
	if (!v)
		return -ENOENT;
	rc = csv_disk_prepare_srv(v, m->path, s->vm, s->secret, (int)m->timeout_ms, &disk);
	if (rc)
		return rc;
	listen_to(s, m->disk, disk);
	r->size = disk->size;
	r->event = block_bytes(v);
	return 0;
}

static int do_activate(struct session *s, const struct csv_local_msg *m, struct csv_local_msg *r,
		       int *ret_fd)
{
	struct csv_disk *disk = m->disk < DISKS_MAX ? s->disks[m->disk] : NULL;
	int rc;

	if (!disk)
		return -EINVAL;
	rc = csv_disk_activate_srv(disk, m->generation, (int)m->timeout_ms, ret_fd);
	if (rc) {
		r->generation = disk->refused.generation;
		snprintf(r->vm, sizeof(r->vm), "%s", disk->refused.vm);
	}
	r->mode = (uint32_t)disk->mode;
	r->size = disk->size;
	return rc;
}

static int do_resume(struct session *s, const struct csv_local_msg *m, struct csv_local_msg *r,
		     int *ret_fd)
{
	struct csv_disk *disk;
	int rc;

	if (m->disk >= DISKS_MAX || s->disks[m->disk])
		return -EINVAL;
	disk = csv_disk_claim(s->d, m->volume, m->path, s->vm, s->secret);
	if (disk) {
		/* The device that it has goes on. */
		listen_to(s, m->disk, disk);
		r->mode = (uint32_t)disk->mode;
		r->size = disk->size;
		if (!disk->active || disk->generation != m->generation)
			return -ESTALE;
		/* What it has open of a redirected one was the mount of the csvd before. */
		if (disk->mode == CSV_DISK_REDIRECTED) {
			*ret_fd = csv_disk_redirected_open(disk);
			return *ret_fd < 0 ? *ret_fd : 0;
		}
		return 0;
	}
	rc = do_prepare(s, m, r);
	return rc ? rc : do_activate(s, m, r, ret_fd);
}

static int do_close(struct session *s, const struct csv_local_msg *m)
{
	struct csv_disk *disk = m->disk < DISKS_MAX ? s->disks[m->disk] : NULL;

	if (!disk)
		return -EINVAL;
	disk_forget(s, m->disk);
	csv_disk_close_srv(disk);
	return 0;
}

static void session_free(struct session *s)
{
	cl_gate_leave(&s->d->disk_knocks, s->knock);
	cl_gate_leave(&s->d->disk_sessions, s->place);
	close(s->sock);
	free(s);
}

/* Anybody on this node may connect: before a thread is made he has a place, by his uid. Root is not bounded. */
static struct session *session_new(struct csvd *d, int sock)
{
	struct ucred peer;
	socklen_t len = sizeof(peer);
	struct session *s = calloc(1, sizeof(*s));
	unsigned more;

	if (!s || getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &peer, &len)) {
		free(s);
		close(sock);
		return NULL;
	}
	*s = (struct session){.d = d, .sock = sock, .uid = peer.uid, .pid = peer.pid,
			      .pid_start = csv_proc_start(peer.pid), .knock = -1, .place = -1};
	if (!peer.uid)
		return s;
	hello_wait(sock, CSV_SOCK_HELLO_MS);
	s->place = cl_gate_enter(&d->disk_sessions, peer.uid, sock);
	if (s->place >= 0)
		s->knock = cl_gate_enter(&d->disk_knocks, peer.uid, sock);
	if (s->place >= 0 && s->knock >= 0)
		return s;
	if (cl_gate_say(&d->disk_knocks, &more))
		cl_warning("csv.sock: uid %u (pid %d) was refused: allowed are %u sessions a uid, %u"
			   " without a HELLO (%u more since the last line)",
			   peer.uid, peer.pid, CSV_SESSIONS_A_UID, CSV_KNOCKS, more);
	session_free(s);
	return NULL;
}

static void *session_thread(void *arg)
{
	struct session *s = arg;
	CL_CLEANUP_FREE struct csv_local_msg *m = calloc(1, sizeof(*m));
	CL_CLEANUP_FREE struct csv_local_msg *r = calloc(1, sizeof(*r));
	int in;

	while (m && r && !csv_local_recv(s->sock, m, &in, 0)) {
		CL_CLEANUP_CLOSE int fd = -1;

		if (in >= 0)
			close(in); /* nobody sends us one */
		memset(r, 0, sizeof(*r));
		r->type = CSV_LOCAL_REPLY;
		r->id = m->id;
		r->disk = m->disk;
		if (!s->greeted && m->type != CSV_LOCAL_HELLO)
			r->rc = -EPROTO;
		else if (m->type == CSV_LOCAL_HELLO)
			r->rc = do_hello(s, m, r);
		else if (m->type == CSV_LOCAL_PREPARE)
			r->rc = do_prepare(s, m, r);
		else if (m->type == CSV_LOCAL_ACTIVATE)
			r->rc = do_activate(s, m, r, &fd);
		else if (m->type == CSV_LOCAL_RESUME)
			r->rc = do_resume(s, m, r, &fd);
		else if (m->type == CSV_LOCAL_CLOSE)
			r->rc = do_close(s, m);
		else
			break;
		if (csv_local_send(s->sock, r, fd, 0) || (!s->greeted && s->uid))
			break;
	}
	/* The vmm is gone, or has let go of us: what nobody has open is closed, the rest waits. */
	for (uint32_t i = 0; i < DISKS_MAX; i++) {
		struct csv_disk *disk = s->disks[i];

		if (!disk)
			continue;
		disk_forget(s, i);
		csv_disk_unclaim(disk);
	}
	csv_disks_tidy(s->d);
	session_free(s);
	return NULL;
}

static void *accept_main(void *arg)
{
	struct csvd *d = arg;

	for (;;) {
		int sock = accept4(d->disk_fd, NULL, NULL, SOCK_CLOEXEC);
		struct session *s;
		pthread_t t;

		if (sock < 0) {
			if (errno != EINTR)
				usleep(100000);
			continue;
		}
		s = session_new(d, sock);
		if (!s)
			continue;
		if (pthread_create(&t, NULL, session_thread, s)) {
			session_free(s);
			continue;
		}
		pthread_detach(t);
	}
	return NULL;
}

int csv_disksock_start(struct csvd *d)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	pthread_t t;
	int rc;

	if (snprintf(a.sun_path, sizeof(a.sun_path), "%s/csv.sock", d->run_dir) >=
	    (int)sizeof(a.sun_path))
		return -ENAMETOOLONG;
	rc = cl_gate_init(&d->disk_sessions, CSV_SESSIONS, CSV_SESSIONS_A_UID, 0);
	if (!rc)
		rc = cl_gate_init(&d->disk_knocks, CSV_KNOCKS, CSV_SESSIONS_A_UID, GRACE_MS);
	if (rc)
		return rc;
	d->disk_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (d->disk_fd < 0)
		return -errno;
	/* csvd.lock is ours: whatever lies here is a dead csvd's. */
	(void)unlink(a.sun_path);
	if (bind(d->disk_fd, (struct sockaddr *)&a, sizeof(a)) || chmod(a.sun_path, 0666) ||
	    listen(d->disk_fd, 64))
		return -errno;
	rc = pthread_create(&t, NULL, accept_main, d);
	if (rc)
		return -rc;
	pthread_detach(t);
	return 0;
}
