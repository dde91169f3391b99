/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libcsv: the vmm's side.  Assumes one thread at a time.  When csvd goes it keeps the fds that it has (a
 * device works without csvd) and tries to reconnect; it never retries I/O, that is the caller's.
 */
#include "csv/libcsv.h"

#include "csv/localio.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define DISKS_MAX    64u
#define RECONNECT_MS 500
#define CALL_SLACK_MS 10000 /* beyond the timeout that csvd was given */

struct csv_disk {
	struct csv_client *client;
	uint32_t number;
	char *volume;
	char *path;
	uint64_t size;
	uint32_t block_bytes;
	uint64_t generation; /* 0: not active */
	uint64_t floor;	     /* of the last refusal */
	char floor_vm[CL_NAME_MAX];
	uint32_t resume_id;  /* request under way, 0 none */
	enum csv_disk_mode mode;
	int fd;
	void *data;
};

struct csv_client {
	struct sockaddr_un address;
	int sock; /* -1: csvd is away */
	int timer;
	int epoll;
	uint32_t last_id;
	uint32_t hello_id; /* of a reconnect under way */
	csv_event_fn fn;
	void *arg;
	char vm[CL_NAME_MAX];
	char secret[CSV_LOCAL_SECRET];
	struct csv_disk *disks[DISKS_MAX];
	struct csv_local_msg in;  /* too big for a stack that may be small */
	struct csv_local_msg out;
};

static void timer_set(struct csv_client *c, int ms)
{
	struct itimerspec t = {.it_value = {ms / 1000, ms % 1000 * 1000000l}};

	(void)timerfd_settime(c->timer, 0, &t, NULL);
}

static void lost(struct csv_client *c)
{
	if (c->sock < 0)
		return;
	close(c->sock);
	c->sock = -1;
	c->hello_id = 0;
	for (unsigned i = 0; i < DISKS_MAX; i++)
		if (c->disks[i])
			c->disks[i]->resume_id = 0;
	timer_set(c, RECONNECT_MS);
}

static int dial(struct csv_client *c)
{
	struct epoll_event e = {.events = EPOLLIN};
	int s = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	int rc;

	if (s < 0)
		return -errno;
	e.data.fd = s;
	if (connect(s, (struct sockaddr *)&c->address, sizeof(c->address)) ||
	    epoll_ctl(c->epoll, EPOLL_CTL_ADD, s, &e)) {
		rc = -errno;
		close(s);
		return rc;
	}
	c->sock = s;
	return 0;
}

static struct csv_local_msg *out_new(struct csv_client *c, enum csv_local_type type)
{
	memset(&c->out, 0, sizeof(c->out));
	c->out.type = type;
	if (!++c->last_id)
		c->last_id = 1;
	c->out.id = c->last_id;
	return &c->out;
}

static void out_hello(struct csv_client *c)
{
	struct csv_local_msg *m = out_new(c, CSV_LOCAL_HELLO);

	memcpy(m->vm, c->vm, sizeof(m->vm));
	memcpy(m->secret, c->secret, sizeof(m->secret));
}

static void event(struct csv_client *c, struct csv_disk *d, enum csv_event e)
{
	if (c->fn)
		c->fn(c->arg, d, e);
}

/* Takes over fd. */
static void disk_changed(struct csv_client *c, struct csv_disk *d, uint32_t mode, int fd)
{
	int old = d->fd;

	d->mode = mode;
	d->fd = fd;
	event(c, d, CSV_EVENT_CHANGED);
	if (old >= 0)
		close(old);
}

static void on_event(struct csv_client *c, int fd)
{
	struct csv_disk *d = c->in.disk < DISKS_MAX ? c->disks[c->in.disk] : NULL;

	if (d && c->in.event == CSV_EVENT_CHANGED && fd >= 0) {
		disk_changed(c, d, c->in.mode, fd);
		return;
	}
	if (fd >= 0)
		close(fd);
	if (d && (c->in.event == CSV_EVENT_FENCED || c->in.event == CSV_EVENT_DISPLACED))
		event(c, d, (enum csv_event)c->in.event);
}

static void resume_all(struct csv_client *c)
{
	for (uint32_t i = 0; i < DISKS_MAX; i++) {
		struct csv_disk *d = c->disks[i];
		struct csv_local_msg *m;

		if (!d || !d->generation)
			continue;
		m = out_new(c, CSV_LOCAL_RESUME);
		m->disk = i;
		m->generation = d->generation;
		m->timeout_ms = CALL_SLACK_MS;
		snprintf(m->volume, sizeof(m->volume), "%s", d->volume);
		snprintf(m->path, sizeof(m->path), "%s", d->path);
		d->resume_id = m->id;
		if (csv_local_send(c->sock, m, -1, MSG_DONTWAIT)) {
			lost(c);
			return;
		}
	}
}

/* A reply that no call waits for belongs to a reconnect. */
static void on_reply(struct csv_client *c, int fd)
{
	struct csv_disk *d = c->in.disk < DISKS_MAX ? c->disks[c->in.disk] : NULL;

	if (c->hello_id && c->in.id == c->hello_id) {
		c->hello_id = 0;
		if (c->in.rc)
			lost(c);
		else {
			memcpy(c->secret, c->in.secret, sizeof(c->secret));
			resume_all(c);
		}
	} else if (d && d->resume_id && c->in.id == d->resume_id) {
		d->resume_id = 0;
		if (!c->in.rc && fd >= 0) {
			disk_changed(c, d, c->in.mode, fd);
			return;
		}
		if (c->in.rc == -ESTALE)
			event(c, d, CSV_EVENT_DISPLACED);
		else if (c->in.rc)
			lost(c); /* the volume is not attached yet: again later */
	}
	if (fd >= 0)
		close(fd);
}

/* Handles one message. 0, or what recv said. */
static int take(struct csv_client *c, uint32_t wait_id, int flags, int *ret_fd, bool *ret_mine)
{
	int fd, rc = csv_local_recv(c->sock, &c->in, &fd, flags);

	*ret_mine = false;
	if (rc)
		return rc;
	if (c->in.type == CSV_LOCAL_REPLY && wait_id && c->in.id == wait_id) {
		*ret_mine = true;
		*ret_fd = fd;
	} else if (c->in.type == CSV_LOCAL_REPLY) {
		on_reply(c, fd);
	} else if (c->in.type == CSV_LOCAL_EVENT) {
		on_event(c, fd);
	} else if (fd >= 0) {
		close(fd);
	}
	return 0;
}

/* Sends c->out and waits; the reply is in c->in. */
static int call(struct csv_client *c, int timeout_ms, int *ret_fd)
{
	uint32_t id = c->out.id;
	struct timespec now;
	int64_t end;
	bool mine;
	int rc;

	*ret_fd = -1;
	if (c->sock < 0)
		return -ECONNREFUSED;
	rc = csv_local_send(c->sock, &c->out, -1, 0);
	clock_gettime(CLOCK_MONOTONIC, &now);
	end = now.tv_sec * 1000 + now.tv_nsec / 1000000 + timeout_ms + CALL_SLACK_MS;
	while (!rc && c->sock >= 0) {
		struct pollfd p = {.fd = c->sock, .events = POLLIN};
		int64_t left;

		clock_gettime(CLOCK_MONOTONIC, &now);
		left = end - (now.tv_sec * 1000 + now.tv_nsec / 1000000);
		if (timeout_ms > 0 && left <= 0)
			return -ETIMEDOUT;
		if (poll(&p, 1, timeout_ms > 0 ? (int)left : -1) <= 0)
			continue;
		rc = take(c, id, MSG_DONTWAIT, ret_fd, &mine);
		if (rc == -EAGAIN)
			rc = 0;
		else if (!rc && mine)
			return c->in.rc;
	}
	lost(c);
	return rc && rc != -EPIPE ? rc : -ECONNRESET;
}

int csv_client_new(const char *sock_path, const char *vm, csv_event_fn fn, void *arg,
		   struct csv_client **ret_client)
{
	const char *run = getenv("HOLDFAST_RUN_DIR");
	struct csv_client *c = calloc(1, sizeof(*c));
	struct epoll_event e = {.events = EPOLLIN};
	int n, fd, rc;

	if (!c)
		return -ENOMEM;
	c->sock = -1;
	c->fn = fn;
	c->arg = arg;
	c->address.sun_family = AF_UNIX;
	c->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	c->epoll = epoll_create1(EPOLL_CLOEXEC);
	e.data.fd = c->timer;
	if (c->timer < 0 || c->epoll < 0 || epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->timer, &e)) {
		rc = -errno;
		goto fail;
	}
	if (sock_path)
		n = snprintf(c->address.sun_path, sizeof(c->address.sun_path), "%s", sock_path);
	else
		n = snprintf(c->address.sun_path, sizeof(c->address.sun_path), "%s/csv.sock",
			     run ? run : "/run/holdfast");
	if (n >= (int)sizeof(c->address.sun_path) || !cl_name_valid(vm)) {
		rc = -EINVAL;
		goto fail;
	}
	snprintf(c->vm, sizeof(c->vm), "%s", vm);
	rc = dial(c);
	if (rc)
		goto fail;
	out_hello(c);
	rc = call(c, CALL_SLACK_MS, &fd);
	if (rc)
		goto fail;
	memcpy(c->secret, c->in.secret, sizeof(c->secret));
	*ret_client = c;
	return 0;
fail:
	csv_client_free(c);
	return rc;
}

static void disk_drop(struct csv_disk *d)
{
	d->client->disks[d->number] = NULL;
	if (d->fd >= 0)
		close(d->fd);
	free(d->volume);
	free(d->path);
	free(d);
}

void csv_client_free(struct csv_client *client)
{
	if (!client)
		return;
	for (unsigned i = 0; i < DISKS_MAX; i++)
		csv_disk_close(client->disks[i]);
	if (client->sock >= 0)
		close(client->sock);
	if (client->timer >= 0)
		close(client->timer);
	if (client->epoll >= 0)
		close(client->epoll);
	free(client);
}

int csv_client_fd(const struct csv_client *client)
{
	return client->epoll;
}

void csv_client_service(struct csv_client *c)
{
	uint64_t ticks;
	bool mine;
	int fd, rc;

	if (read(c->timer, &ticks, sizeof(ticks)) == sizeof(ticks) && c->sock < 0) {
		if (dial(c)) {
			timer_set(c, RECONNECT_MS);
			return;
		}
		out_hello(c);
		c->hello_id = c->out.id;
		if (csv_local_send(c->sock, &c->out, -1, MSG_DONTWAIT))
			lost(c);
	}
	while (c->sock >= 0) {
		rc = take(c, 0, MSG_DONTWAIT, &fd, &mine);
		if (rc == -EAGAIN)
			return;
		if (rc)
			lost(c);
	}
}

int csv_disk_prepare(struct csv_client *c, const char *volume, const char *path, int timeout_ms,
		     struct csv_disk **ret_disk)
{
	struct csv_local_msg *m;
	struct csv_disk *d;
	uint32_t i;
	int fd, rc;

	if (!cl_name_valid(volume) || strlen(path) >= CSV_LOCAL_PATH)
		return -EINVAL;
	for (i = 0; i < DISKS_MAX && c->disks[i]; i++)
		;
	if (i == DISKS_MAX)
		return -EMFILE;
	d = calloc(1, sizeof(*d));
	if (!d)
		return -ENOMEM;
	d->client = c;
	d->number = i;
	d->fd = -1;
	d->volume = strdup(volume);
	d->path = strdup(path);
	c->disks[i] = d;
	if (!d->volume || !d->path) {
		disk_drop(d);
		return -ENOMEM;
	}
	m = out_new(c, CSV_LOCAL_PREPARE);
	m->disk = i;
	m->timeout_ms = (uint32_t)timeout_ms;
	snprintf(m->volume, sizeof(m->volume), "%s", volume);
	snprintf(m->path, sizeof(m->path), "%s", path);
	rc = call(c, timeout_ms, &fd);
	if (fd >= 0)
		close(fd);
	if (rc) {
		disk_drop(d);
		return rc;
	}
	d->size = c->in.size;
	d->block_bytes = c->in.event ? c->in.event : 512; /* 0: an older csvd */
	*ret_disk = d;
	return 0;
}

int csv_disk_activate(struct csv_disk *d, uint64_t generation, int timeout_ms)
{
	struct csv_client *c = d->client;
	struct csv_local_msg *m = out_new(c, CSV_LOCAL_ACTIVATE);
	int fd, rc;

	m->disk = d->number;
	m->generation = generation;
	m->timeout_ms = (uint32_t)timeout_ms;
	rc = call(c, timeout_ms, &fd);
	if (!rc && fd < 0)
		rc = -EPROTO;
	d->floor = rc == -ESTALE || rc == -ETXTBSY ? c->in.generation : 0;
	snprintf(d->floor_vm, sizeof(d->floor_vm), "%s", d->floor ? c->in.vm : "");
	if (rc) {
		if (fd >= 0)
			close(fd);
		return rc;
	}
	if (d->fd >= 0)
		close(d->fd);
	d->fd = fd;
	d->generation = generation;
	d->mode = c->in.mode;
	d->size = c->in.size;
	return 0;
}

uint64_t csv_disk_generation_floor(const struct csv_disk *disk, const char **ret_vm)
{
	*ret_vm = disk->floor_vm;
	return disk->floor;
}

int csv_disk_open(struct csv_client *client, const char *volume, const char *path,
		  uint64_t generation, int timeout_ms, struct csv_disk **ret_disk)
{
	int rc = csv_disk_prepare(client, volume, path, timeout_ms, ret_disk);

	if (rc)
		return rc;
	rc = csv_disk_activate(*ret_disk, generation, timeout_ms);
	if (rc) {
		csv_disk_close(*ret_disk);
		*ret_disk = NULL;
	}
	return rc;
}

void csv_disk_close(struct csv_disk *d)
{
	struct csv_local_msg *m;
	int fd;

	if (!d)
		return;
	if (d->fd >= 0)
		close(d->fd);
	d->fd = -1;
	m = out_new(d->client, CSV_LOCAL_CLOSE);
	m->disk = d->number;
	(void)call(d->client, CALL_SLACK_MS, &fd);
	disk_drop(d);
}

int csv_disk_fd(const struct csv_disk *disk)
{
	return disk->fd;
}

uint32_t csv_disk_block(const struct csv_disk *d)
{
	return d->block_bytes;
}

uint64_t csv_disk_size(const struct csv_disk *disk)
{
	return disk->size;
}

enum csv_disk_mode csv_disk_mode_get(const struct csv_disk *disk)
{
	return disk->mode;
}

void csv_disk_data_set(struct csv_disk *disk, void *data)
{
	disk->data = data;
}

void *csv_disk_data(const struct csv_disk *disk)
{
	return disk->data;
}
