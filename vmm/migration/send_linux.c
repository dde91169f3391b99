/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Sends a machine: pre-copy in passes while it runs and the switch-over, to a peer or to a file.
 *
 *   connect ─ CONFIG ─> ACCEPT ─ pass 0: all pages that may hold something
 *     ─ pass n: what was written meanwhile, until the estimate meets the target (precopy.h)
 *     ─ pause ─ dirty pages ─ state is serialised ─ pages that this dirtied ─ state ─ END ─> READY
 *
 * Until END is given to the link every failure ends with the guest running
 * here: without END the destination can never be ready.  From the moment END is
 * written, even if the write fails, the destination may be ready, so the guest
 * stays paused and the caller waits to be told.  No timeout changes that.
 */
#include "vmm/migration/send.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/cl_cleanup.h"
#include "vmm/migration/precopy.h"
#include "vmm/migration/throttle.h"
#include "vmm/migration/util.h"

#define CLEAR_PAGES	   262144u /* pages whose log is cleared at once: each clear stops all vCPUs for a moment */
#define FIXED_US_MIN	   5000u  /* scheduling and the peer's bookkeeping */
#define PROGRESS_PERIOD_NS 500000000ull
#define SAVE_PASSES	   4u
#define SAVE_REST_PAGES	   512u /* what is not worth another pass */
#define PACE_SLICE_NS	   50000000ull /* a cancel is heard within that */

struct sender {
	const struct vmm_mig_machine *m;
	struct vmm_link *link;
	const struct vmm_send_params *params;
	const struct vmm_send_hooks *hooks;
	const atomic_bool *cancel;
	struct vmm_send_stats *stats;
	struct vmm_stream stream;
	uint8_t *storage;  /* a section's header, then a batch */
	struct vmm_ram_batch batch;
	uint64_t *dirty;
	uint8_t *state;    /* pieces of state, one after the other */
	uint8_t *state_out;
	size_t state_cap;
	uint64_t pace_ns;  /* when the next batch may go */
	uint64_t told_ns;  /* last progress */
};

static void sleep_ns(uint64_t ns)
{
	struct timespec ts = { .tv_sec = (time_t)(ns / 1000000000ull),
			       .tv_nsec = (long)(ns % 1000000000ull) };

	nanosleep(&ts, NULL);
}

static int sender_init(struct sender *s)
{
	const struct vmm_stream_config *c = &s->m->config;

	vmm_stream_init(&s->stream);
	s->storage = malloc(VMM_SECTION_HEADER_BYTES + VMM_STREAM_RAM_HEAD_BYTES +
			    (size_t)VMM_STREAM_BATCH_PAGES * VMM_STREAM_PAGE_BYTES);
	s->dirty = calloc(vmm_mig_words(s->m->pages), sizeof(*s->dirty));
	s->state_cap = (size_t)(1 + c->cpus + c->devices) *
			       (VMM_MIG_STATE_MAX + VMM_SECTION_HEADER_BYTES) + 4096;
	s->state = malloc(s->state_cap);
	s->state_out = malloc(s->state_cap);
	if (!s->storage || !s->dirty || !s->state || !s->state_out)
		return -ENOMEM;
	vmm_ram_batch_init(&s->batch, s->storage + VMM_SECTION_HEADER_BYTES);
	return 0;
}

static void sender_fini(struct sender *s)
{
	free(s->storage);
	free(s->dirty);
	free(s->state);
	free(s->state_out);
}

static int out(struct sender *s, const void *buf, size_t len_bytes)
{
	int r = s->link->write(s->link, buf, len_bytes);

	s->stats->sent_bytes = s->link->written_bytes;
	return r;
}

/* Header and payload in one write; payload is at most 4096 bytes. */
static int send_small(struct sender *s, unsigned type, unsigned instance, const void *payload,
		      size_t len_bytes)
{
	uint8_t buf[VMM_SECTION_HEADER_BYTES + 4096];

	if (len_bytes > sizeof(buf) - VMM_SECTION_HEADER_BYTES)
		return -EMSGSIZE;
	vmm_section_seal(&s->stream, type, instance, payload, len_bytes, buf);
	if (len_bytes)
		memcpy(buf + VMM_SECTION_HEADER_BYTES, payload, len_bytes);
	return out(s, buf, VMM_SECTION_HEADER_BYTES + len_bytes);
}

static int send_head(struct sender *s)
{
	uint8_t head[VMM_STREAM_HEADER_BYTES], config[512];
	long n = vmm_stream_config_encode(&s->m->config, config, sizeof(config));
	int r;

	if (n < 0)
		return (int)n;
	vmm_stream_header_encode(&s->stream, head);
	r = out(s, head, sizeof(head));
	return r ? r : send_small(s, VMM_SECTION_CONFIG, 0, config, (size_t)n);
}

static void tell(struct sender *s, bool always)
{
	uint64_t now = vmm_mig_now_ns();

	if (!s->hooks || (!always && now - s->told_ns < PROGRESS_PERIOD_NS))
		return;
	s->told_ns = now;
	s->hooks->progress(s->hooks->arg, s->stats);
}

/* Bandwidth cap: each batch buys its time.  Not while the guest is paused. */
static void pace(struct sender *s, size_t len_bytes)
{
	uint64_t now = vmm_mig_now_ns(), cost;

	if (!s->params || !s->params->bandwidth_bps || s->stats->paused_ns)
		return;
	cost = (uint64_t)len_bytes * 1000000000ull / s->params->bandwidth_bps;
	if (s->pace_ns < now)
		s->pace_ns = now;
	s->pace_ns += cost;
	for (; now < s->pace_ns && !atomic_load(s->cancel); now = vmm_mig_now_ns())
		sleep_ns(s->pace_ns - now < PACE_SLICE_NS ? s->pace_ns - now : PACE_SLICE_NS);
}

static int batch_flush(struct sender *s)
{
	const uint8_t *payload;
	uint8_t *head;
	size_t len_bytes;
	int r;

	if (vmm_ram_batch_empty(&s->batch))
		return 0;
	len_bytes = vmm_ram_batch_finish(&s->batch, &payload);
	head = s->storage + (payload - s->storage) - VMM_SECTION_HEADER_BYTES;
	vmm_section_seal(&s->stream, VMM_SECTION_RAM, 0, payload, len_bytes, head);
	r = out(s, head, VMM_SECTION_HEADER_BYTES + len_bytes);
	s->stats->data_pages += s->batch.data_pages;
	s->stats->zero_pages += s->batch.zero_pages;
	vmm_ram_batch_init(&s->batch, s->batch.buf);
	if (r)
		return r;
	if (s->cancel && atomic_load(s->cancel) && !s->stats->paused_ns)
		return -ECANCELED;
	pace(s, len_bytes);
	tell(s, false);
	return 0;
}

/* Sends every page set in s->dirty and clears the bits. */
static int send_pages(struct sender *s, bool logged)
{
	const struct vmm_mig_machine *m = s->m;
	uint64_t pages_left = vmm_mig_count(s->dirty, m->pages);
	int r;

	for (uint64_t first = 0; first < m->pages && pages_left; first += CLEAR_PAGES) {
		uint64_t count = m->pages - first < CLEAR_PAGES ? m->pages - first : CLEAR_PAGES;
		uint64_t *words = s->dirty + first / 64;

		if (!vmm_mig_count(words, count))
			continue;
		if (logged) {
			r = m->log_clear(m->arg, first, count, words);
			if (r)
				return r;
		}
		for (size_t w = 0; w < vmm_mig_words(count); w++) {
			while (words[w]) {
				uint64_t page = first + w * 64 + (uint64_t)__builtin_ctzll(words[w]);
				const struct vmm_mig_region *reg = vmm_mig_region_of(m, page);
				uint64_t at = (page - reg->first_page) * VMM_STREAM_PAGE_BYTES;

				if (!vmm_ram_batch_add(&s->batch, reg->gpa + at, reg->host + at)) {
					s->stats->remaining_bytes =
						pages_left * VMM_STREAM_PAGE_BYTES;
					r = batch_flush(s);
					if (r)
						return r;
					continue;
				}
				words[w] &= words[w] - 1;
				pages_left--;
			}
		}
	}
	s->stats->remaining_bytes = 0;
	return batch_flush(s);
}

/*
 * All state into s->state, one piece after the other, lens[] in order VM, vCPUs, devices.
 */
static int serialise(struct sender *s, uint32_t *lens, char **ret_error)
{
	const struct vmm_stream_config *c = &s->m->config;
	struct cl_writer w;
	unsigned n = 0;

	s->stats->state_bytes = 0;
	for (unsigned i = 0; i < 1 + c->cpus + c->devices; i++) {
		unsigned type = i == 0		 ? VMM_SECTION_VM :
				i < 1 + c->cpus ? VMM_SECTION_VCPU :
						  VMM_SECTION_DEVICE;
		unsigned instance = i == 0 ? 0 : i < 1 + c->cpus ? i - 1 : i - 1 - c->cpus;
		long len;
		int r;

		cl_writer_init(&w, s->state + s->stats->state_bytes, VMM_MIG_STATE_MAX);
		r = s->m->save(s->m->arg, type, instance, &w, ret_error);
		len = r ? r : cl_writer_done(&w);
		if (len < 0) {
			vmm_mig_explain(ret_error, "state of %s %u: %s", vmm_section_type_name(type), instance,
				strerror((int)-len));
			return (int)len;
		}
		lens[n++] = (uint32_t)len;
		s->stats->state_bytes += (uint64_t)len;
	}
	return 0;
}

/* State and END in one write, so that the last of it is one burst. */
static int send_state(struct sender *s, const uint32_t *lens)
{
	const struct vmm_stream_config *c = &s->m->config;
	const uint8_t *from = s->state;
	uint8_t *to = s->state_out, end_buf[128];
	struct vmm_stream_end end = {
		.data_pages = s->stats->data_pages,
		.zero_pages = s->stats->zero_pages,
		.vcpus = c->cpus,
		.devices = c->devices,
	};
	long n;

	for (unsigned i = 0; i < 1 + c->cpus + c->devices; i++) {
		unsigned type = i == 0		 ? VMM_SECTION_VM :
				i < 1 + c->cpus ? VMM_SECTION_VCPU :
						  VMM_SECTION_DEVICE;
		unsigned instance = i == 0 ? 0 : i < 1 + c->cpus ? i - 1 : i - 1 - c->cpus;

		vmm_section_seal(&s->stream, type, instance, from, lens[i], to);
		memcpy(to + VMM_SECTION_HEADER_BYTES, from, lens[i]);
		to += VMM_SECTION_HEADER_BYTES + lens[i];
		from += lens[i];
	}
	if (s->params && s->params->verify)
		end.ram_hash = vmm_mig_ram_hash(s->m);
	end.sections = s->stream.seq;
	end.realtime_ns = vmm_mig_clock_ns(CLOCK_REALTIME);
	end.age_ns = vmm_mig_now_ns() - s->m->clock_read_ns(s->m->arg);
	n = vmm_stream_end_encode(&end, end_buf, sizeof(end_buf));
	if (n < 0)
		return (int)n;
	vmm_section_seal(&s->stream, VMM_SECTION_END, 0, end_buf, (size_t)n, to);
	memcpy(to + VMM_SECTION_HEADER_BYTES, end_buf, (size_t)n);
	to += VMM_SECTION_HEADER_BYTES + n;
	return out(s, s->state_out, (size_t)(to - s->state_out));
}

/* One REPLY; the peer's stream starts with its own header. */
static int read_reply(struct sender *s, struct vmm_stream *peer, struct vmm_stream_reply_msg *msg)
{
	uint8_t head[VMM_STREAM_HEADER_BYTES], sh[VMM_SECTION_HEADER_BYTES];
	uint8_t payload[VMM_STREAM_TEXT_MAX + 32];
	struct vmm_section sec;
	int r;

	if (!peer->begun) {
		r = s->link->read(s->link, head, sizeof(head));
		r = r ? r : vmm_stream_header_decode(peer, head);
		if (r)
			return r;
	}
	r = s->link->read(s->link, sh, sizeof(sh));
	r = r ? r : vmm_section_open(peer, sh, &sec);
	if (r)
		return r;
	if (sec.type != VMM_SECTION_REPLY || sec.len_bytes > sizeof(payload))
		return -EBADMSG;
	r = s->link->read(s->link, payload, sec.len_bytes);
	r = r ? r : vmm_section_check(peer, &sec, payload);
	return r ? r : vmm_stream_reply_decode(msg, payload, sec.len_bytes);
}

/* What the switch-over's state will cost, found by doing it. */
static int dry_run(struct sender *s, uint32_t *lens, uint64_t *ret_us, char **ret_error)
{
	uint64_t start = vmm_mig_now_ns(), took_us;
	int r = s->m->pause(s->m->arg, ret_error);

	if (r)
		return r;
	s->stats->pause_us = (vmm_mig_now_ns() - start) / 1000;
	r = serialise(s, lens, ret_error);
	s->m->resume(s->m->arg);
	took_us = (vmm_mig_now_ns() - start) / 1000;
	/* The best of all runs: what disturbed one of them need not disturb the real one. */
	if (!*ret_us || took_us < *ret_us)
		*ret_us = took_us;
	s->stats->state_us = took_us - s->stats->pause_us;
	return r;
}

static int precopy(struct sender *s, uint32_t *lens, uint64_t rtt_us, struct vmm_throttle *t,
		   char **ret_error)
{
	struct vmm_precopy p = {
		.downtime_us = s->params->downtime_us,
		.rounds_max = s->params->rounds_max ? s->params->rounds_max :
						      VMM_PRECOPY_ROUNDS_DEFAULT,
		.switch_anyway = s->params->switch_anyway,
		.no_throttle = s->params->no_throttle,
	};
	enum vmm_precopy_verdict verdict = VMM_PRECOPY_AGAIN;
	const struct vmm_mig_machine *m = s->m;
	int r = m->allocated(m->arg, s->dirty);

	while (!r && verdict == VMM_PRECOPY_AGAIN) {
		uint64_t start = vmm_mig_now_ns(), sent = s->stats->data_pages, us;

		r = send_pages(s, true);
		if (r)
			break;
		us = (vmm_mig_now_ns() - start) / 1000;
		sent = (s->stats->data_pages - sent) * VMM_STREAM_PAGE_BYTES;
		if (p.round == 0 || p.state_bound) {
			r = dry_run(s, lens, &p.state_us, ret_error);
			/* The peer loads about as long as we serialise. */
			p.fixed_us = FIXED_US_MIN + rtt_us + p.state_us;
		}
		r = r ? r : m->log_fetch(m->arg, s->dirty);
		r = r ? r : send_small(s, VMM_SECTION_ROUND, 0, NULL, 0);
		if (r)
			break;
		verdict = vmm_precopy_round(&p, sent, us,
					    vmm_mig_count(s->dirty, m->pages) *
						    VMM_STREAM_PAGE_BYTES);
		s->stats->round = p.round;
		s->stats->remaining_bytes = p.pending_bytes;
		s->stats->dirty_bps = p.dirty_bps;
		s->stats->bandwidth_bps = p.bandwidth_bps;
		s->stats->est_downtime_us = p.est_downtime_us;
		s->stats->throttle_pct = p.throttle_pct;
		vmm_throttle_set(t, p.throttle_pct);
		tell(s, true);
		if (atomic_load(s->cancel))
			r = -ECANCELED;
	}
	if (!r && verdict == VMM_PRECOPY_GIVE_UP) {
		vmm_mig_explain(ret_error,
			"it does not converge: after %u passes %llu KiB are still dirty, the guest writes %llu KiB/s, the link carries %llu KiB/s; expected downtime %llu ms, allowed %llu ms",
			p.round, (unsigned long long)(p.pending_bytes >> 10),
			(unsigned long long)(p.dirty_bps >> 10),
			(unsigned long long)(p.bandwidth_bps >> 10),
			(unsigned long long)(p.est_downtime_us / 1000),
			(unsigned long long)(p.downtime_us / 1000));
		r = -ETIME;
	}
	return r;
}

/* The guest is paused: the rest of memory and its state, up to but not including END's burst. */
static int final_copy(struct sender *s, uint32_t *lens, char **ret_error)
{
	const struct vmm_mig_machine *m = s->m;
	uint64_t pages = s->stats->data_pages + s->stats->zero_pages, begin = vmm_mig_now_ns(), start;
	int r = m->log_fetch(m->arg, s->dirty);

	r = r ? r : send_pages(s, true);
	if (r)
		return r;
	start = vmm_mig_now_ns();
	r = serialise(s, lens, ret_error);
	s->stats->state_us = (vmm_mig_now_ns() - start) / 1000;
	/* Serialising may have written guest memory. */
	r = r ? r : m->log_fetch(m->arg, s->dirty);
	r = r ? r : send_pages(s, true);
	s->stats->final_us = (vmm_mig_now_ns() - begin) / 1000 - s->stats->state_us;
	s->stats->final_pages = s->stats->data_pages + s->stats->zero_pages - pages;
	return r;
}

enum vmm_send_result vmm_send_live(const struct vmm_mig_machine *m, struct vmm_link *link,
				   const struct vmm_send_params *params,
				   const struct vmm_send_hooks *hooks, const atomic_bool *cancel,
				   struct vmm_send_stats *stats, char **ret_error)
{
	struct sender s = { .m = m, .link = link, .params = params, .hooks = hooks,
			    .cancel = cancel, .stats = stats };
	struct vmm_throttle t;
	CL_CLEANUP_FREE uint32_t *lens = NULL;
	enum vmm_send_result result = VMM_SEND_FAILED;
	struct vmm_stream_reply_msg msg = { 0 };
	struct vmm_stream peer;
	uint64_t start = vmm_mig_now_ns(), rtt_us = 0;
	bool logging = false, paused = false;
	int r = sender_init(&s);

	vmm_throttle_init(&t, m);
	vmm_stream_init(&peer);
	lens = calloc(1 + m->config.cpus + m->config.devices, sizeof(*lens));
	if (!r && !lens)
		r = -ENOMEM;
	r = r ? r : send_head(&s);
	r = r ? r : read_reply(&s, &peer, &msg);
	rtt_us = (vmm_mig_now_ns() - start) / 1000;
	if (!r && msg.code != VMM_REPLY_ACCEPT) {
		vmm_mig_explain(ret_error, "refused by the destination: %s", msg.text);
		r = -ECONNREFUSED;
	}
	if (!r) {
		r = m->log_start(m->arg);
		logging = !r;
	}
	r = r ? r : precopy(&s, lens, rtt_us, &t, ret_error);
	if (!r && !hooks->may_switch(hooks->arg))
		r = -ECANCELED;
	vmm_throttle_end(&t);
	if (r)
		goto out;
	stats->paused_ns = vmm_mig_now_ns();
	r = m->pause(m->arg, ret_error);
	if (r)
		goto out;
	paused = true;
	stats->pause_us = (vmm_mig_now_ns() - stats->paused_ns) / 1000;
	r = final_copy(&s, lens, ret_error);
	if (!r && !hooks->may_end(hooks->arg))
		r = -ECANCELED;
	if (r)
		goto out;
	result = VMM_SEND_UNKNOWN;
	r = send_state(&s, lens);
	if (r)
		goto out;
	stats->sent_ns = vmm_mig_now_ns();
	stats->total_us = (stats->sent_ns - start) / 1000;
	hooks->switched(hooks->arg, stats);
	r = read_reply(&s, &peer, &msg);
	if (r)
		goto out;
	if (msg.code == VMM_REPLY_READY) {
		stats->ready_ns = vmm_mig_now_ns();
		stats->peer_load_us = msg.load_us;
		result = VMM_SEND_READY;
	} else {
		vmm_mig_explain(ret_error, "the destination failed after the switch-over: %s", msg.text);
	}
out:
	vmm_throttle_end(&t);
	/* A cancel closes the link, which is what the last call saw. */
	if (r && result == VMM_SEND_FAILED && !paused && atomic_load(cancel)) {
		free(*ret_error);
		*ret_error = NULL;
		r = -ECANCELED;
	}
	if (r)
		vmm_mig_explain(ret_error, "%s",
			r == -EPIPE	  ? "the destination closed the connection" :
			r == -ETIMEDOUT	  ? "the destination does not take data" :
			r == -ECANCELED	  ? "cancelled" :
			r == -EBADMSG	  ? "nonsense from the destination" :
					    strerror(-r));
	if (result == VMM_SEND_FAILED) {
		if (paused)
			m->resume(m->arg);
		stats->paused_ns = 0;
		if (logging)
			m->log_stop(m->arg);
	}
	stats->total_us = (vmm_mig_now_ns() - start) / 1000;
	vmm_throttle_fini(&t);
	sender_fini(&s);
	return result;
}

/*
 * Passes over memory while the guest runs, so that little is left for its pause.  They end when little is left, when one
 * did not halve what the one before left, or after SAVE_PASSES: the file is at most about twice as long as memory.
 */
static int save_passes(struct sender *s)
{
	const struct vmm_mig_machine *m = s->m;
	uint64_t left = UINT64_MAX, before;
	int r = m->allocated(m->arg, s->dirty);

	do {
		before = left;
		r = r ? r : send_pages(s, true);
		r = r ? r : m->log_fetch(m->arg, s->dirty);
		r = r ? r : send_small(s, VMM_SECTION_ROUND, 0, NULL, 0);
		s->stats->round++;
		left = vmm_mig_count(s->dirty, m->pages);
	} while (!r && s->stats->round < SAVE_PASSES && left > SAVE_REST_PAGES && left < before / 2);
	return r;
}

int vmm_send_save(const struct vmm_mig_machine *m, struct vmm_link *link, bool runs,
		  const atomic_bool *cancel, struct vmm_send_stats *stats, char **ret_error)
{
	struct sender s = { .m = m, .link = link, .cancel = cancel, .stats = stats };
	CL_CLEANUP_FREE uint32_t *lens =
		calloc(1 + m->config.cpus + m->config.devices, sizeof(*lens));
	uint64_t start = vmm_mig_now_ns();
	bool logging = false, paused = false;
	int r = sender_init(&s);

	if (!r && !lens)
		r = -ENOMEM;
	r = r ? r : send_head(&s);
	if (!r && runs) {
		r = m->log_start(m->arg);
		logging = !r;
		r = r ? r : save_passes(&s);
	}
	stats->paused_ns = vmm_mig_now_ns();
	if (!r && runs) {
		r = m->pause(m->arg, ret_error);
		paused = !r;
		stats->pause_us = (vmm_mig_now_ns() - stats->paused_ns) / 1000;
		r = r ? r : final_copy(&s, lens, ret_error);
	} else if (!r) {
		/* State first: serialising may write guest memory, which is read after it. */
		r = serialise(&s, lens, ret_error);
		r = r ? r : m->allocated(m->arg, s.dirty);
		r = r ? r : send_pages(&s, false);
	}
	r = r ? r : send_state(&s, lens);
	stats->sent_ns = vmm_mig_now_ns();
	stats->total_us = (stats->sent_ns - start) / 1000;
	if (r)
		vmm_mig_explain(ret_error, "%s", strerror(-r));
	if (logging)
		m->log_stop(m->arg);
	if (r && paused)
		m->resume(m->arg);
	sender_fini(&s);
	return r;
}
