/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The contract on the model, once as LIO and once as tgt; then what only a model can do: lost
 * commands and lost replies, a power cycle, and a model that lies, which the suite must catch.
 */
#include "tests/contract/pr_contract.h"
#include "tests/contract/pr_model.h"

#include <errno.h>
#include <stdio.h>

#define KEY_A 0xc500000100000001ull
#define KEY_B 0xc500000200000001ull

static struct scsi3pr_dev dev[3];
static struct pr_model_nexus nexus[3];
static struct model_lun lun;
static unsigned failed;

#define EXPECT(what, cond)                                                                         \
	do {                                                                                       \
		bool ok_ = (cond);                                                                 \
		printf("%s %s\n", ok_ ? "ok" : "NOT OK", what);                                    \
		failed += !ok_;                                                                    \
	} while (0)

static void setup(void)
{
	static const char *const names[] = { "a", "b", "c" };

	model_lun_init(&lun);
	for (unsigned i = 0; i < 3; i++) {
		nexus[i] = (struct pr_model_nexus){ .lun = &lun, .nexus = i };
		pr_model_open(&dev[i], &nexus[i], names[i]);
	}
}

static unsigned suite(const char *name, bool full)
{
	const struct pr_target target = {
		.name = name,
		.a = &dev[0],
		.b = &dev[1],
		.c = &dev[2],
		.has_abort = full,
		.has_aptpl = full,
	};

	setup();
	lun.no_abort = lun.no_aptpl = !full;
	return pr_contract_run(&target);
}

static void members(void)
{
	setup();
	EXPECT("members", scsi3pr_register(&dev[0], KEY_A, true) == 0 &&
				  scsi3pr_register(&dev[1], KEY_B, true) == 0 &&
				  scsi3pr_reserve(&dev[0], KEY_A, 0, NULL) == 0);
}

/*
 * A fence sends: READ RESERVATION, READ KEYS, PREEMPT AND ABORT, READ RESERVATION, READ KEYS.
 * Whichever is lost, the answer is UNKNOWN, and never FENCED.
 */
static void no_answer(bool reply)
{
	struct scsi3pr_fence f;

	for (unsigned at = 1; at <= 6; at++) {
		members();
		nexus[1].lose_at = at;
		nexus[1].lose_reply = reply;
		scsi3pr_fence(&dev[1], KEY_B, KEY_A, &f);
		if (at == 4) { /* a reset may be sent again */
			EXPECT("FENCED all the same", f.proof == SCSI3PR_FENCED);
			continue;
		}
		EXPECT("UNKNOWN", f.proof == SCSI3PR_UNKNOWN && f.error == -ETIMEDOUT);
		scsi3pr_fence(&dev[1], KEY_B, KEY_A, &f);
		/* If the first was carried out, its own proof is lost for good. */
		EXPECT("asked again", f.proof == (at > 3 || (at == 3 && reply) ? SCSI3PR_KEY_ABSENT
									       : SCSI3PR_FENCED));
	}
	members();
	nexus[1].lose_at = 7;
	scsi3pr_fence(&dev[1], KEY_B, KEY_A, &f);
	EXPECT("there are six commands", f.proof == SCSI3PR_FENCED);
}

static void power_cycle(void)
{
	struct scsi3pr_check check;

	members();
	model_lun_power_cycle(&lun);
	scsi3pr_check(&dev[0], KEY_A, &check);
	EXPECT("with APTPL all is there",
	       check.health == SCSI3PR_HEALTHY && check.attentions & SCSI3PR_UA_RESET);
	setup();
	EXPECT("without APTPL", scsi3pr_register(&dev[0], KEY_A, false) == 0 &&
					scsi3pr_reserve(&dev[0], KEY_A, 0, NULL) == 0);
	model_lun_power_cycle(&lun);
	scsi3pr_check(&dev[0], KEY_A, &check);
	EXPECT("all is gone, and the poll says so", check.health == SCSI3PR_LOST_KEY);
}

static void busy_target(void)
{
	members();
	nexus[0].busy = true;
	EXPECT("a busy target is asked again after a pause",
	       scsi3pr_register(&dev[0], KEY_A, true) == 0 && nexus[0].pauses > 0);
}

/* A suite that passes on a target which lets fenced hosts write would be worth nothing. */
static void a_lie_is_caught(void)
{
	const struct pr_target target = {
		.name = "a target that lies (failures are wanted)",
		.a = &dev[0],
		.b = &dev[1],
		.c = &dev[2],
		.has_abort = true,
		.has_aptpl = true,
	};

	setup();
	nexus[0].lies = true;
	EXPECT("the suite catches it", pr_contract_run(&target) > 0);
}

int main(void)
{
	unsigned bad = suite("model", true) + suite("model with tgt's refusals", false);

	no_answer(false);
	no_answer(true);
	power_cycle();
	busy_target();
	a_lie_is_caught();
	printf("%u failed\n", failed + bad);
	return failed + bad != 0;
}
