/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The first failure that explains, in words: in a job's answer, in `why`, in what is traced, in snapshots. */
#include "tests/unit/clusterd/core_flow.h"
#include "tests/unit/unit.h"

#include <errno.h>
#include <stdio.h>

#define FULL "VM web on node n%u: /clusterstorage/data: No space left on device (130000000 needed, 250000 free)"

/* As flow_answer(), with a text. */
static bool fail(uint8_t kind, uint16_t code, const char *text)
{
	const struct core_effect *fx = flow_effect(kind, 0);
	struct core_command *cmd = flow_cmd(CORE_CMD_RESULT, "");

	if (!fx)
		return false;
	cmd->result.id = fx->id;
	cmd->result.outcome = CL_FAILED;
	cmd->result.code = code;
	snprintf(cmd->result.text, sizeof(cmd->result.text), "%s", text);
	flow_apply(cmd);
	return true;
}

static const struct core_vm *web(void)
{
	return core_vm_find(&st, "web", NULL);
}

static void says(const char *text)
{
	static char why[32768];

	core_why(&st, CORE_OBJECT_VM, "web", why, sizeof(why));
	if (!strstr(why, text)) {
		fprintf(stderr, "wanted: %s\nseen: %s\n", text, why);
		CU_FAIL("why does not say it");
	}
}

static uint64_t migrate(bool quick)
{
	struct core_command *cmd = flow_cmd(CORE_CMD_VM_MIGRATE, "web");

	strcpy(cmd->target, web()->node == 1 ? "n2" : "n1");
	cmd->method = quick ? CORE_METHOD_QUICK : CORE_METHOD_LIVE;
	CU_ASSERT_EQUAL(flow_apply(cmd), 0);
	return ans.job;
}

static void answers(uint64_t id, const char *first, const char *last)
{
	const struct core_job *job = core_job_find(&st, id);

	CU_ASSERT_PTR_NOT_NULL_FATAL(job);
	CU_ASSERT_EQUAL(job->state, CORE_JOB_FAILED);
	if (!strstr(job->text, first) || !strstr(job->text, last) ||
	    strstr(job->text, first) > strstr(job->text, last)) {
		fprintf(stderr, "wanted: %s ... %s\nseen: %s\n", first, last, job->text);
		CU_FAIL("the job's answer is not the cause");
	}
}

/* A snapshot brings the words to a node that comes later. */
static void snapshot_same(void)
{
	static uint8_t bytes[4u << 20], again[4u << 20];
	static struct core_state copy;
	long len = core_snapshot_encode(&st, bytes, sizeof(bytes)), len2;

	CU_ASSERT_TRUE_FATAL(len > 0);
	CU_ASSERT_EQUAL_FATAL(core_snapshot_decode(&copy, bytes, (size_t)len), 0);
	CU_ASSERT_STRING_EQUAL(core_vm_find(&copy, "web", NULL)->cause.text, web()->cause.text);
	len2 = core_snapshot_encode(&copy, again, sizeof(again));
	CU_ASSERT_EQUAL(len, len2);
	CU_ASSERT_EQUAL(memcmp(bytes, again, (size_t)len), 0);
}

static void test_quick(void)
{
	char text[CORE_TEXT_MAX], last[64];
	uint64_t job;
	uint8_t source;

	flow_cluster();
	source = web()->node;
	job = migrate(true);
	snprintf(text, sizeof(text), FULL, source);
	CU_ASSERT_TRUE(fail(CORE_FX_VM_SAVE, ENOSPC, text));
	flow_settle(0);
	CU_ASSERT_EQUAL(web()->state, CORE_VM_RUNNING);
	snprintf(text, sizeof(text),
		 "saving on node n%u failed: /clusterstorage/data: No space left on device (130000000 needed, 250000 free)",
		 source);
	snprintf(last, sizeof(last), "it runs on node n%u again", source);
	answers(job, text, last);
	says(text);
	snapshot_same();
	/* The next one begins anew. */
	job = migrate(true);
	CU_ASSERT_TRUE(fail(CORE_FX_VM_SAVE, EIO, ""));
	flow_settle(0);
	answers(job, "failed: input/output error", last);
}

static void test_live(void)
{
	uint64_t job;

	flow_cluster();
	job = migrate(false);
	CU_ASSERT_TRUE(flow_answer(CORE_FX_VM_INCOMING, 0, CL_DONE, 0));
	CU_ASSERT_TRUE(fail(CORE_FX_VM_MIGRATE, EIO, "the target refused: disk 0 needs blocks of 4096 bytes"));
	flow_settle(0);
	CU_ASSERT_EQUAL(web()->state, CORE_VM_RUNNING);
	answers(job, "the target refused: disk 0 needs blocks of 4096 bytes", "again");
	says("the target refused");
	job = migrate(false);
	CU_ASSERT_TRUE(fail(CORE_FX_VM_INCOMING, EADDRINUSE, ""));
	flow_settle(0);
	answers(job, "address in use", "in use");
}

/* The guest's VM is started, and fails until it is given up. */
static void test_start(void)
{
	const char *text = "disk web of volume data, generation 41: a higher generation has or had it";
	char whole[CORE_TEXT_MAX];
	struct core_command *cmd;

	flow_cluster();
	cmd = flow_cmd(CORE_CMD_VM_EXIT, "web");
	cmd->node = web()->node;
	cmd->incarnation = st.nodes[cmd->node].incarnation;
	cmd->generation = web()->generation;
	cmd->exit = CORE_EXIT_FENCED;
	strcpy(cmd->text, "disk data/web: a higher generation of this VM has it; stopping");
	flow_apply(cmd);
	says("ended: disk data/web: a higher generation of this VM has it");
	for (unsigned n = 0; n < 50 && web()->state != CORE_VM_FAILED; n++) {
		if (flow_effect(CORE_FX_VM_START, 0)) {
			snprintf(whole, sizeof(whole), "VM web on node n%u: %s",
				 flow_effect(CORE_FX_VM_START, 0)->node, text);
			fail(CORE_FX_VM_START, EIO, whole);
			says(text);
		}
		flow_tick(5000);
	}
	CU_ASSERT_EQUAL(web()->state, CORE_VM_FAILED);
	says("tries again; the last failure: disk web of volume data");
	snapshot_same();
}

static void trouble(enum core_trouble what, uint64_t generation, const char *text)
{
	struct core_command *cmd = flow_cmd(CORE_CMD_VM_TROUBLE, "web");

	cmd->node = web()->node;
	cmd->incarnation = st.nodes[cmd->node].incarnation;
	cmd->generation = generation;
	cmd->trouble = (uint8_t)what;
	strcpy(cmd->text, text);
	flow_apply(cmd);
}

/* A full file system: it is said where people look, and the VM is what it was. */
static void test_trouble(void)
{
	uint64_t traced;

	flow_cluster();
	traced = st.trace_total;
	trouble(CORE_TROUBLE_NO_SPACE, web()->generation + 1, "of another life");
	trouble(CORE_TROUBLE_OVER, web()->generation - 1, "");
	CU_ASSERT_EQUAL(st.trace_total, traced);
	trouble(CORE_TROUBLE_NO_SPACE, web()->generation, "no space on the file system of disk /a");
	says("no space on the file system of disk /a; it goes on when there is room");
	CU_ASSERT_EQUAL(web()->state, CORE_VM_RUNNING);
	CU_ASSERT_EQUAL(web()->failures, 0);
	snapshot_same();
	traced = st.trace_total;
	trouble(CORE_TROUBLE_NO_SPACE, web()->generation, "again"); /* after clusterd's restart */
	CU_ASSERT_EQUAL(st.trace_total, traced);
	trouble(CORE_TROUBLE_OVER, web()->generation, "");
	says("there is room again");
	trouble(CORE_TROUBLE_IO_ERROR, web()->generation,
		"disk /a: write at sector 8: Input/output error");
	says("was given an I/O error: disk /a: write at sector 8");
	CU_ASSERT_EQUAL(web()->state, CORE_VM_RUNNING);
}

/* A read-only disk is one in the log and in a snapshot, and nothing else of the disk changes by it.
 */
static void test_readonly(void)
{
	static uint8_t bytes[4u << 20];
	static struct core_state copy;
	struct core_command *cmd;
	long len;

	flow_cluster();
	cmd = flow_vm_cmd("ro", 256);
	cmd->vm.disks[0].size_bytes = 0;
	cmd->vm.disks[0].readonly = true;
	CU_ASSERT_EQUAL(flow_apply(cmd), 0);
	flow_settle(0);
	CU_ASSERT_TRUE(core_vm_find(&st, "ro", NULL)->config.disks[0].readonly);
	CU_ASSERT_FALSE(web()->config.disks[0].readonly);
	CU_ASSERT_EQUAL(core_vm_find(&st, "ro", NULL)->config.disks[0].size_bytes, 0);
	len = core_snapshot_encode(&st, bytes, sizeof(bytes));
	CU_ASSERT_EQUAL_FATAL(core_snapshot_decode(&copy, bytes, (size_t)len), 0);
	CU_ASSERT_TRUE(core_vm_find(&copy, "ro", NULL)->config.disks[0].readonly);
	CU_ASSERT_EQUAL(core_vm_find(&copy, "web", NULL)->config.disks[0].size_bytes, 1 << 20);
}

/* `vm delete --keep-disks`: what it had made stays. */
static void test_keep(void)
{
	struct core_command *cmd;

	flow_cluster();
	cmd = flow_cmd(CORE_CMD_VM_STOP, "web");
	cmd->force = true;
	flow_apply(cmd);
	flow_settle(0);
	CU_ASSERT_EQUAL(web()->state, CORE_VM_STOPPED);
	CU_ASSERT_TRUE(web()->config.disks[0].created);
	cmd = flow_cmd(CORE_CMD_VM_DELETE, "web");
	cmd->keep = true;
	CU_ASSERT_EQUAL(flow_apply(cmd), 0);
	CU_ASSERT_PTR_NOT_NULL_FATAL(flow_effect(CORE_FX_DISK_DELETE, 0));
	CU_ASSERT_EQUAL(flow_effect(CORE_FX_DISK_DELETE, 0)->flags, CORE_FLAG_KEEP);
	flow_settle(0);
	CU_ASSERT_PTR_NULL(web());
	/* Without it they go. */
	flow_cluster();
	cmd = flow_cmd(CORE_CMD_VM_STOP, "web");
	cmd->force = true;
	flow_apply(cmd);
	flow_settle(0);
	CU_ASSERT_EQUAL(flow_apply(flow_cmd(CORE_CMD_VM_DELETE, "web")), 0);
	CU_ASSERT_PTR_NOT_NULL(flow_effect(CORE_FX_DISK_DELETE, 0));
	cmd = flow_cmd(CORE_CMD_VM_DELETE, "web");
	cmd->keep = true;
	CU_ASSERT_EQUAL(flow_apply(cmd), -EBUSY); /* too late */
}

/* Before the level nothing of it is in the state, and the words are those of the number. */
static void test_level(void)
{
	flow_cluster();
	st.level = CORE_LEVEL_CAUSES - 1;
	migrate(true);
	fail(CORE_FX_VM_SAVE, ENOSPC, "VM web on node n1: somewhere");
	CU_ASSERT_EQUAL(web()->cause.text[0], '\0');
	CU_ASSERT_EQUAL(web()->migration.first.reason, 0);
	says("failed: no space left on device");
	snapshot_same();
}

static void test_words(void)
{
	struct core_cause cause = { .reason = CORE_WHY_VM_DIED, .node = 2, .n1 = CORE_EXIT_FENCED };
	char text[CORE_TEXT_MAX];

	core_cause_render(NULL, &cause, text, sizeof(text));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "ended: fenced"));
	cause.n1 = 77;
	core_cause_render(NULL, &cause, text, sizeof(text));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "reason 77"));
	cause.reason = CORE_WHY_ATTACH_FAILED;
	cause.n1 = EEXIST;
	core_cause_render(NULL, &cause, text, sizeof(text));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "it exists already"));
	cause.n1 = 4242;
	core_cause_render(NULL, &cause, text, sizeof(text));
	CU_ASSERT_PTR_NOT_NULL(strstr(text, "error 4242"));
	CU_ASSERT_STRING_EQUAL(core_errno_text(0), "no reason was given");
	/* Every reason renders, with and without a text of its own. */
	for (unsigned i = 1; i < CORE_WHY_COUNT; i++) {
		cause = (struct core_cause){ .reason = (uint8_t)i, .node = 1, .n1 = EIO, .n2 = ENOSPC };
		core_cause_render(NULL, &cause, text, sizeof(text));
		CU_ASSERT_PTR_NULL(strchr(text, '%'));
		strcpy(cause.text, "node 1: odd %e");
		core_cause_render(NULL, &cause, text, sizeof(text));
	}
}

UNIT_MAIN("core causes", { "quick migration", test_quick }, { "live migration", test_live },
	  { "start", test_start }, { "trouble", test_trouble }, { "keep disks", test_keep },
	  { "a read-only disk", test_readonly }, { "before the level", test_level },
	  { "words", test_words })
