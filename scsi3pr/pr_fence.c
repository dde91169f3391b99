/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Fencing by PREEMPT AND ABORT, and the poll that finds out that we were fenced ourselves.
 *
 * PREEMPT AND ABORT is followed by a LOGICAL UNIT RESET, because the abort cannot be relied on:
 * Linux's LIO answers GOOD and aborts nothing where the victim is not the nexus that made the
 * all-registrants reservation (tests/contract/pr_held.c saw such a write land seconds later;
 * docs/decisions/fence-drain.md). The victim's key is gone by then, so that nothing of it can
 * follow the reset.
 *
 * Decides what is proof (docs/architecture.md): only that our own PREEMPT AND ABORT answered GOOD
 * for a key that was seen present, and that afterwards the key is gone while our own key and the
 * reservation stand.  A key that is absent proves nothing: who removed it may still be aborting,
 * and some arrays purge registrations of lost sessions.  Never uses PREEMPT without ABORT, CLEAR,
 * or REGISTER.
 */
#include "scsi3pr/pr_dev.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *scsi3pr_proof_name(enum scsi3pr_proof proof)
{
	static const char *const names[] = { "fenced", "key-absent", "unknown", "failed",
					     "drained" };

	return (unsigned)proof < CL_ARRAY_LEN(names) ? names[proof] : "unknown";
}

const char *scsi3pr_health_name(enum scsi3pr_health health)
{
	static const char *const names[] = { "healthy", "lost-key", "lost-reservation",
					     "lost-nexus", "no-answer" };

	return (unsigned)health < CL_ARRAY_LEN(names) ? names[health] : "no-answer";
}

static bool all_registrants(const struct scsi3pr_reservation *now)
{
	return now->held && (now->type == SCSI3PR_EXCLUSIVE_ACCESS_AR ||
			     now->type == SCSI3PR_WRITE_EXCLUSIVE_AR);
}

static void reservation_format(const struct scsi3pr_reservation *now, char *out, size_t cap_bytes)
{
	if (!now->held)
		snprintf(out, cap_bytes, "no reservation");
	else
		snprintf(out, cap_bytes, "reservation type %u (%s)", now->type,
			 scsi3pr_type_name(now->type));
}

__attribute__((format(printf, 4, 5))) static void
verdict(struct scsi3pr_fence *fence, enum scsi3pr_proof proof, int error, const char *format, ...)
{
	va_list ap;

	fence->proof = proof;
	fence->error = error;
	va_start(ap, format);
	vsnprintf(fence->text, sizeof(fence->text), format, ap);
	va_end(ap);
}

/* What a command that failed says about the fence: no answer is UNKNOWN, all else FAILED. */
static void verdict_error(struct scsi3pr_fence *fence, struct scsi3pr_dev *dev, int error)
{
	verdict(fence, error == -ETIMEDOUT ? SCSI3PR_UNKNOWN : SCSI3PR_FAILED, error, "%s",
		dev->error);
}

/* Reservation and keys as they must be before and after. 0 or an error, with its verdict. */
static int state_verify(struct scsi3pr_dev *dev, uint64_t own_key, struct scsi3pr_fence *fence,
			struct scsi3pr_reservation *ret_now)
{
	char text[96];
	int ret = scsi3pr_reservation_read(dev, ret_now);

	if (ret == 0)
		ret = scsi3pr_keys_read(dev, &dev->keys);
	if (ret < 0) {
		verdict_error(fence, dev, ret);
		return ret;
	}
	fence->generation = dev->keys.generation;
	if (!scsi3pr_keys_have(&dev->keys, own_key)) {
		verdict(fence, SCSI3PR_FAILED, -EBADE,
			"%s: own key 0x%016" PRIx64 " is not registered: this node is fenced",
			dev->name, own_key);
		return -EBADE;
	}
	if (!all_registrants(ret_now)) {
		reservation_format(ret_now, text, sizeof(text));
		verdict(fence, SCSI3PR_FAILED, -EBADE,
			"%s: %s where an all-registrants reservation must be", dev->name, text);
		return -EBADE;
	}
	return 0;
}

static void absent(struct scsi3pr_dev *dev, uint64_t victim_key, struct scsi3pr_fence *fence)
{
	verdict(fence, SCSI3PR_KEY_ABSENT, 0,
		"%s: key 0x%016" PRIx64 " was not registered: no proof that its writes have ended",
		dev->name, victim_key);
}

/* A preempt that was won is not given up lightly: its proof cannot be had a second time. */
#define RESET_TRIES 8u

static int reset_confirmed(struct scsi3pr_dev *dev)
{
	int ret = -ETIMEDOUT;

	for (unsigned i = 0; i < RESET_TRIES && ret < 0; i++)
		ret = pr_dev_reset(dev);
	return ret;
}

/*
 * Once PREEMPT AND ABORT answered GOOD, a failure to look at the result is UNKNOWN, not FAILED; but
 * own key or reservation lost meanwhile is FAILED: somebody preempted us, and "won some, lost some"
 * is lost.
 */
static void verify_after(struct scsi3pr_dev *dev, uint64_t own_key, uint64_t victim_key,
			 unsigned type, struct scsi3pr_fence *fence)
{
	struct scsi3pr_reservation now;
	int ret = state_verify(dev, own_key, fence, &now);

	if (ret == -EBADE)
		return;
	if (ret < 0) {
		fence->proof = SCSI3PR_UNKNOWN;
		return;
	}
	if (scsi3pr_keys_have(&dev->keys, victim_key))
		verdict(fence, SCSI3PR_FAILED, -EIO,
			"%s: PREEMPT AND ABORT answered GOOD but key 0x%016" PRIx64
			" is still there",
			dev->name, victim_key);
	else if (now.type != type)
		verdict(fence, SCSI3PR_FAILED, -EBADE,
			"%s: the reservation changed from type %u to type %u meanwhile", dev->name,
			type, now.type);
	else
		verdict(fence, SCSI3PR_FENCED, 0,
			"%s: PREEMPT AND ABORT of key 0x%016" PRIx64
			" and LUN reset answered GOOD; key gone, type %u reservation in place, gen "
			"%u",
			dev->name, victim_key, type, dev->keys.generation);
}

void scsi3pr_fence(struct scsi3pr_dev *dev, uint64_t own_key, uint64_t victim_key,
		   struct scsi3pr_fence *ret_fence)
{
	struct scsi3pr_reservation before, now;
	int ret;

	memset(ret_fence, 0, sizeof(*ret_fence));
	if (victim_key == 0 || own_key == 0 || victim_key == own_key) {
		verdict(ret_fence, SCSI3PR_FAILED, -EINVAL,
			"%s: keys 0x%016" PRIx64 " (own) and 0x%016" PRIx64
			" (victim) must differ and not be 0",
			dev->name, own_key, victim_key);
		return;
	}
	if (state_verify(dev, own_key, ret_fence, &before) < 0)
		return;
	if (!scsi3pr_keys_have(&dev->keys, victim_key)) {
		absent(dev, victim_key, ret_fence);
		return;
	}
	ret = scsi3pr_preempt(dev, own_key, victim_key, before.type, true);
	if (ret == -EBADE) {
		/* Either somebody was first, or we are ourselves preempted (SPC-4 5.13.11.2.4.1).
		 */
		if (state_verify(dev, own_key, ret_fence, &now) < 0)
			return;
		if (!scsi3pr_keys_have(&dev->keys, victim_key))
			absent(dev, victim_key, ret_fence);
		else
			verdict(ret_fence, SCSI3PR_FAILED, -EBADE,
				"%s: PREEMPT AND ABORT: RESERVATION CONFLICT though both keys are "
				"registered: this nexus is not",
				dev->name);
		return;
	}
	if (ret < 0) {
		verdict_error(ret_fence, dev, ret);
		return;
	}
	ret = reset_confirmed(dev);
	if (ret < 0) {
		verdict(ret_fence, SCSI3PR_UNKNOWN, ret,
			"%s: PREEMPT AND ABORT answered GOOD, but writes under way may go on: %s",
			dev->name, dev->error);
		return;
	}
	verify_after(dev, own_key, victim_key, before.type, ret_fence);
}

/* 0 if all is as it must be and absent_key is not there; else with a verdict. */
static int absent_verify(struct scsi3pr_dev *dev, uint64_t own_key, uint64_t absent_key,
			 struct scsi3pr_fence *fence)
{
	struct scsi3pr_reservation now;
	int ret = state_verify(dev, own_key, fence, &now);

	if (ret < 0)
		return ret;
	if (!scsi3pr_keys_have(&dev->keys, absent_key))
		return 0;
	verdict(fence, SCSI3PR_FAILED, -EEXIST, "%s: key 0x%016" PRIx64 " is registered", dev->name,
		absent_key);
	return -EEXIST;
}

void scsi3pr_drain(struct scsi3pr_dev *dev, uint64_t own_key, uint64_t absent_key,
		   struct scsi3pr_fence *ret_fence)
{
	int ret;

	memset(ret_fence, 0, sizeof(*ret_fence));
	if (absent_key == 0 || own_key == 0 || absent_key == own_key) {
		verdict(ret_fence, SCSI3PR_FAILED, -EINVAL, "%s: the keys must differ and not be 0",
			dev->name);
		return;
	}
	if (absent_verify(dev, own_key, absent_key, ret_fence) < 0)
		return;
	ret = reset_confirmed(dev);
	if (ret < 0) {
		verdict(ret_fence, SCSI3PR_UNKNOWN, ret, "%s", dev->error);
		return;
	}
	if (absent_verify(dev, own_key, absent_key, ret_fence) < 0)
		return;
	verdict(ret_fence, SCSI3PR_DRAINED, 0,
		"%s: key 0x%016" PRIx64
		" is not registered, the reservation is in place, and a LUN "
		"reset has ended what was under way",
		dev->name, absent_key);
}

__attribute__((format(printf, 3, 4))) static void
health(struct scsi3pr_check *check, enum scsi3pr_health value, const char *format, ...)
{
	va_list ap;

	check->health = value;
	va_start(ap, format);
	vsnprintf(check->text, sizeof(check->text), format, ap);
	va_end(ap);
}

void scsi3pr_check(struct scsi3pr_dev *dev, uint64_t own_key, struct scsi3pr_check *ret_check)
{
	struct scsi3pr_reservation now;
	char text[96];
	int ret;

	memset(ret_check, 0, sizeof(*ret_check));
	ret = scsi3pr_keys_read(dev, &dev->keys);
	if (ret < 0) {
		health(ret_check, SCSI3PR_NO_ANSWER, "%s", dev->error);
		goto out;
	}
	ret_check->generation = dev->keys.generation;
	if (!scsi3pr_keys_have(&dev->keys, own_key)) {
		health(ret_check, SCSI3PR_LOST_KEY,
		       "%s: own key 0x%016" PRIx64 " is not registered; %u keys are, PR generation %u",
		       dev->name, own_key, dev->keys.n, dev->keys.generation);
		goto out;
	}
	ret = scsi3pr_reservation_read(dev, &now);
	if (ret < 0) {
		health(ret_check, SCSI3PR_NO_ANSWER, "%s", dev->error);
		goto out;
	}
	ret_check->type = now.held ? now.type : 0;
	if (!all_registrants(&now)) {
		reservation_format(&now, text, sizeof(text));
		health(ret_check, SCSI3PR_LOST_RESERVATION,
		       "%s: %s where an all-registrants reservation must be", dev->name, text);
		goto out;
	}
	/* Only a read shows whether *this* nexus is registered, and only under type 8. */
	ret = pr_dev_read_block0(dev);
	if (ret == -EBADE)
		health(ret_check, SCSI3PR_LOST_NEXUS, "%s", dev->error);
	else if (ret < 0)
		health(ret_check, SCSI3PR_NO_ANSWER, "%s", dev->error);
	else
		health(ret_check, SCSI3PR_HEALTHY, "%s", "");
out:
	ret_check->attentions = scsi3pr_attentions(dev);
}
