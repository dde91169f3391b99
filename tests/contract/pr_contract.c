/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The suite.  Every case starts from a LUN without registrations and says which rule of
 * docs/decisions it stands for.  A case that needs a command which the target refuses checks the
 * refusal, and that nothing was changed by it.
 */
#include "tests/contract/pr_contract.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define KEY_A 0xc500000100000001ull
#define KEY_B 0xc500000200000001ull
#define KEY_C 0xc500000300000001ull
#define KEY_X 0xc500000900000009ull /* never registered */
#define AR    SCSI3PR_EXCLUSIVE_ACCESS_AR

static unsigned failed, checked;

#define EXPECT(what, cond)                                                                         \
	do {                                                                                       \
		bool ok_ = (cond);                                                                 \
		printf("%s %s\n", ok_ ? "ok" : "NOT OK", what);                                    \
		checked++;                                                                         \
		failed += !ok_;                                                                    \
	} while (0)

static struct scsi3pr_keys keys;

static bool have(struct scsi3pr_dev *dev, uint64_t key)
{
	return scsi3pr_keys_read(dev, &keys) == 0 && scsi3pr_keys_have(&keys, key);
}

static bool reserved(struct scsi3pr_dev *dev, unsigned type)
{
	struct scsi3pr_reservation now;

	return scsi3pr_reservation_read(dev, &now) == 0 &&
	       (type ? now.held && now.type == type : !now.held);
}

static int write_block(struct scsi3pr_dev *dev)
{
	return pr_dev_write_block(dev, 8, 0x5a);
}

/* Nobody registered, nothing reserved, no attention pending. */
static void start(const struct pr_target *t, const char *name)
{
	struct scsi3pr_dev *const devs[] = { t->a, t->b, t->c };

	printf("# %s\n", name);
	scsi3pr_register(t->a, KEY_X, false);
	scsi3pr_clear(t->a, KEY_X);
	for (unsigned i = 0; i < 3; i++) {
		scsi3pr_keys_read(devs[i], &keys);
		pr_dev_read_block0(devs[i]);
		scsi3pr_attentions(devs[i]);
	}
	if (!(reserved(t->a, 0) && scsi3pr_keys_read(t->a, &keys) == 0 && keys.n == 0))
		EXPECT("the LUN is clear at the start", false);
}

static bool members(const struct pr_target *t)
{
	return scsi3pr_register(t->a, KEY_A, t->has_aptpl) == 0 &&
	       scsi3pr_register(t->b, KEY_B, t->has_aptpl) == 0 &&
	       scsi3pr_reserve(t->a, KEY_A, AR, NULL) == 0;
}

static void registration(const struct pr_target *t)
{
	uint32_t before;

	start(t, "registration");
	scsi3pr_keys_read(t->a, &keys);
	before = keys.generation;
	EXPECT("register", scsi3pr_register(t->a, KEY_A, false) == 0 && have(t->b, KEY_A));
	EXPECT("PRgeneration rises", keys.generation == before + 1);
	EXPECT("REGISTER with a wrong key is a conflict",
	       scsi3pr_register_exact(t->a, KEY_X, KEY_C, false) == -EBADE && have(t->a, KEY_A));
	EXPECT("REGISTER of an unregistered nexus needs key 0",
	       scsi3pr_register_exact(t->b, KEY_X, KEY_B, false) == -EBADE);
	EXPECT("and is good with it", scsi3pr_register_exact(t->b, 0, KEY_B, false) == 0);
	EXPECT("a key is changed by who knows it",
	       scsi3pr_register_exact(t->a, KEY_A, KEY_C, false) == 0 && have(t->b, KEY_C) &&
		       !have(t->b, KEY_A));
	EXPECT("unregister", scsi3pr_unregister(t->a, KEY_C) == 0 && !have(t->b, KEY_C));
	EXPECT("unregister again is a conflict", scsi3pr_unregister(t->a, KEY_C) == -EBADE);
}

static void who_may_write(const struct pr_target *t)
{
	unsigned type = 0;

	start(t, "who may read and write (A1, A2)");
	EXPECT("without a reservation anybody writes", write_block(t->c) == 0);
	EXPECT("members", members(t));
	EXPECT("the reservation is type 8 with key 0", reserved(t->c, 8));
	EXPECT("members write", write_block(t->a) == 0 && write_block(t->b) == 0);
	EXPECT("a stranger's write conflicts", write_block(t->c) == -EBADE);
	EXPECT("a stranger's read conflicts under type 8", pr_dev_read_block0(t->c) == -EBADE);
	EXPECT("a stranger may ask for keys", have(t->c, KEY_A));
	EXPECT("a stranger cannot reserve", scsi3pr_reserve(t->c, KEY_C, 0, NULL) == -EBADE);
	EXPECT("a second member finds it reserved",
	       scsi3pr_reserve(t->b, KEY_B, 0, &type) == 0 && type == 8);
	start(t, "type 7");
	EXPECT("reserve", scsi3pr_register(t->a, KEY_A, false) == 0 &&
				  scsi3pr_reserve(t->a, KEY_A, 7, &type) == 0 && type == 7);
	EXPECT("a stranger reads but does not write",
	       pr_dev_read_block0(t->c) == 0 && write_block(t->c) == -EBADE);
}

static void holder_leaves(const struct pr_target *t)
{
	start(t, "the holder unregisters (why type 5 is not used)");
	EXPECT("type 5", scsi3pr_register(t->a, KEY_A, false) == 0 &&
				 scsi3pr_register(t->b, KEY_B, false) == 0 &&
				 scsi3pr_reserve(t->a, KEY_A, 5, NULL) == 0 && reserved(t->b, 5));
	EXPECT("another type is there: refused", scsi3pr_reserve(t->b, KEY_B, 0, NULL) == -EBADE);
	EXPECT("type 5 goes with its holder",
	       scsi3pr_unregister(t->a, KEY_A) == 0 && reserved(t->b, 0));
	EXPECT("and a stranger writes", write_block(t->c) == 0);
	start(t, "the holder unregisters under type 8");
	EXPECT("members", members(t));
	EXPECT("type 8 stays while a member is left",
	       scsi3pr_unregister(t->a, KEY_A) == 0 && reserved(t->b, 8));
	EXPECT("who left is a stranger", write_block(t->a) == -EBADE);
	EXPECT("the last member takes it along",
	       scsi3pr_unregister(t->b, KEY_B) == 0 && reserved(t->c, 0) && write_block(t->c) == 0);
}

static void fence(const struct pr_target *t)
{
	struct scsi3pr_fence f;
	struct scsi3pr_check check;

	start(t, "fencing (A3, A5, A9, A14)");
	EXPECT("members", members(t));
	scsi3pr_check(t->a, KEY_A, &check);
	EXPECT("healthy before", check.health == SCSI3PR_HEALTHY && check.type == 8);
	scsi3pr_fence(t->b, KEY_B, KEY_X, &f);
	EXPECT("an absent key is no proof", f.proof == SCSI3PR_KEY_ABSENT && f.text[0]);
	scsi3pr_fence(t->b, KEY_B, KEY_B, &f);
	EXPECT("nobody fences himself", f.proof == SCSI3PR_FAILED && f.error == -EINVAL);
	scsi3pr_fence(t->c, KEY_C, KEY_A, &f);
	EXPECT("a stranger cannot fence", f.proof == SCSI3PR_FAILED && f.error == -EBADE);
	scsi3pr_fence(t->b, KEY_B, KEY_A, &f);
	if (!t->has_abort) {
		EXPECT("refused, and said so", f.proof == SCSI3PR_FAILED && f.error == -EOPNOTSUPP);
		EXPECT("nothing changed", have(t->b, KEY_A) && write_block(t->a) == 0);
		return;
	}
	EXPECT("fenced", f.proof == SCSI3PR_FENCED && f.error == 0);
	EXPECT("key gone, reservation and own key there",
	       !have(t->b, KEY_A) && have(t->b, KEY_B) && reserved(t->b, 8));
	EXPECT("the victim's write conflicts", write_block(t->a) == -EBADE);
	EXPECT("its unit attention was seen and consumed",
	       scsi3pr_attentions(t->a) & (SCSI3PR_UA_PREEMPTED | SCSI3PR_UA_RESET));
	EXPECT("its read conflicts", pr_dev_read_block0(t->a) == -EBADE);
	scsi3pr_check(t->a, KEY_A, &check);
	EXPECT("its poll says so", check.health == SCSI3PR_LOST_KEY && check.text[0]);
	scsi3pr_fence(t->a, KEY_A, KEY_B, &f);
	EXPECT("it cannot fence back",
	       f.proof == SCSI3PR_FAILED && f.error == -EBADE && have(t->b, KEY_B));
	scsi3pr_fence(t->b, KEY_B, KEY_A, &f);
	EXPECT("a second fence finds the key absent", f.proof == SCSI3PR_KEY_ABSENT);
	scsi3pr_drain(t->b, KEY_B, KEY_A, &f);
	EXPECT("then it can be drained", f.proof == SCSI3PR_DRAINED);
	scsi3pr_drain(t->a, KEY_A, KEY_X, &f);
	EXPECT("but not by who is fenced", f.proof == SCSI3PR_FAILED && f.error == -EBADE);
	EXPECT("a key that is there is not drained",
	       scsi3pr_register(t->c, KEY_C, false) == 0 &&
		       (scsi3pr_drain(t->b, KEY_B, KEY_C, &f), f.proof == SCSI3PR_FAILED) &&
		       f.error == -EEXIST && scsi3pr_unregister(t->c, KEY_C) == 0);
	EXPECT("the survivor writes", write_block(t->b) == 0);
}

static void self_registration(const struct pr_target *t)
{
	start(t, "a preempted host may register itself again (A6: so nothing of ours ever does)");
	EXPECT("members", members(t));
	EXPECT("preempt", scsi3pr_preempt(t->b, KEY_B, KEY_A, AR, t->has_abort) == 0);
	EXPECT("out", write_block(t->a) == -EBADE);
	EXPECT("register again is GOOD", scsi3pr_register(t->a, KEY_C, false) == 0);
	EXPECT("and in", write_block(t->a) == 0);
}

static void attention_on_out(const struct pr_target *t)
{
	start(t, "a unit attention hits PERSISTENT RESERVE OUT itself (A9)");
	EXPECT("members", members(t));
	EXPECT("preempt", scsi3pr_preempt(t->b, KEY_B, KEY_A, AR, t->has_abort) == 0);
	scsi3pr_attentions(t->a);
	EXPECT("the victim's next command is a REGISTER and is carried out",
	       scsi3pr_register(t->a, KEY_C, false) == 0 && have(t->b, KEY_C));
	EXPECT("the attention was noted", scsi3pr_attentions(t->a) & SCSI3PR_UA_PREEMPTED);
	EXPECT("clear", scsi3pr_clear(t->b, KEY_B) == 0);
	EXPECT("everything is gone",
	       scsi3pr_keys_read(t->c, &keys) == 0 && keys.n == 0 && reserved(t->c, 0));
	EXPECT("the other's next command is a REGISTER, carried out",
	       scsi3pr_register(t->a, KEY_A, false) == 0 && have(t->b, KEY_A));
	EXPECT("CLEAR left an attention", scsi3pr_attentions(t->a) != 0);
}

static void many_paths(const struct pr_target *t)
{
	struct scsi3pr_fence f;

	if (!t->has_abort)
		return;
	start(t, "one key on several nexuses");
	EXPECT("two paths of one node", members(t) && scsi3pr_register(t->c, KEY_A, false) == 0);
	EXPECT("the key is listed twice", scsi3pr_keys_read(t->b, &keys) == 0 && keys.n == 3);
	scsi3pr_fence(t->b, KEY_B, KEY_A, &f);
	EXPECT("one fence takes both", f.proof == SCSI3PR_FENCED && write_block(t->a) == -EBADE &&
					       write_block(t->c) == -EBADE);
}

static void release(const struct pr_target *t)
{
	struct scsi3pr_check check;

	start(t, "any registrant may release (so the poll looks for it)");
	EXPECT("members", members(t));
	EXPECT("release by the other", scsi3pr_release(t->b, KEY_B, AR) == 0 && reserved(t->c, 0));
	scsi3pr_check(t->a, KEY_A, &check);
	EXPECT("the poll sees it", check.health == SCSI3PR_LOST_RESERVATION);
	EXPECT("reserve again", scsi3pr_reserve(t->a, KEY_A, 0, NULL) == 0 && reserved(t->c, 8));
}

static void persistence(const struct pr_target *t)
{
	struct scsi3pr_capabilities caps;

	start(t, "capabilities and APTPL (A13)");
	EXPECT("capabilities", scsi3pr_capabilities_read(t->a, &caps) == 0 && caps.types_valid &&
				       (caps.types & (1u << 7 | 1u << 8)));
	if (!t->has_aptpl) {
		EXPECT("APTPL is refused and said so",
		       scsi3pr_register(t->a, KEY_A, true) == -EOPNOTSUPP && !have(t->b, KEY_A));
		return;
	}
	EXPECT("capable", caps.persist_capable);
	EXPECT("register with APTPL", scsi3pr_register(t->a, KEY_A, true) == 0);
	EXPECT("active", scsi3pr_capabilities_read(t->a, &caps) == 0 && caps.persist_active);
	EXPECT("who unregisters leaves it on for the others",
	       scsi3pr_register(t->b, KEY_B, true) == 0 && scsi3pr_unregister(t->b, KEY_B) == 0 &&
		       scsi3pr_capabilities_read(t->a, &caps) == 0 && caps.persist_active);
	EXPECT("the last REGISTER counts for all",
	       scsi3pr_register_exact(t->b, 0, KEY_B, false) == 0 &&
		       scsi3pr_capabilities_read(t->a, &caps) == 0 && !caps.persist_active);
	EXPECT("who is registered turns it on again",
	       scsi3pr_register_exact(t->a, KEY_A, KEY_A, true) == 0 &&
		       scsi3pr_capabilities_read(t->a, &caps) == 0 && caps.persist_active &&
		       have(t->c, KEY_A) && have(t->c, KEY_B));
}

static void full_status(const struct pr_target *t)
{
	static struct scsi3pr_full_status status;
	bool a = false, b = false;
	int ret;

	start(t, "READ FULL STATUS");
	EXPECT("members", members(t));
	ret = scsi3pr_full_status_read(t->c, &status);
	if (!t->has_full_status) {
		EXPECT("refused and said so", ret == -EOPNOTSUPP);
		return;
	}
	for (unsigned i = 0; ret == 0 && i < status.n; i++) {
		a |= status.nexus[i].key == KEY_A && status.nexus[i].holder;
		b |= status.nexus[i].key == KEY_B && status.nexus[i].holder;
	}
	EXPECT("both members hold it", a && b && status.n == 2);
	EXPECT("they have different initiators",
	       strcmp(status.nexus[0].initiator, status.nexus[1].initiator) != 0);
}

unsigned pr_contract_run(const struct pr_target *t)
{
	failed = checked = 0;
	registration(t);
	who_may_write(t);
	holder_leaves(t);
	fence(t);
	self_registration(t);
	attention_on_out(t);
	many_paths(t);
	release(t);
	persistence(t);
	full_status(t);
	start(t, "end");
	printf("%s: %u points, %u failed\n", t->name, checked, failed);
	return checked ? failed : 1;
}
