/* SPDX-License-Identifier: GPL-2.0-or-later */
/* clusterd/policy_jansson.c: a policy as JSON and back, and what is wrong with one in words. */
#include "clusterd/policy_jansson.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/unit.h"

static struct core_state st;
static struct core_vm_policy policy;
static uint32_t set;
static char error[256];

static void nodes(void)
{
	memset(&st, 0, sizeof(st));
	for (uint8_t id = 1; id <= 3; id++) {
		st.nodes[id].state = CORE_NODE_UP;
		st.nodes[id].id = id;
		st.nodes[id].name[0] = 'n';
		st.nodes[id].name[1] = (char)('0' + id);
	}
}

static int take(const char *text)
{
	json_t *json = json_loads(text, JSON_DECODE_ANY, NULL);
	int rc;

	CU_ASSERT_PTR_NOT_NULL_FATAL(json);
	memset(&policy, 0, sizeof(policy));
	set = 0;
	rc = cd_policy_read(&st, json, &policy, &set, error, sizeof(error));
	json_decref(json);
	return rc;
}

static void there_and_back(void)
{
	static const char *const text =
		"{\"priority\":\"high\",\"preferred\":[\"n3\",\"n1\"],\"possible\":[\"n1\",\"n3\"],"
		"\"anti_affinity\":\"db\",\"anti_affinity_hard\":true,\"failover_limit\":5,"
		"\"failover_period_s\":600,\"failback\":\"22-05\",\"restart_wait_s\":7,"
		"\"drain\":\"shutdown\",\"max_pause_ms\":0}";
	json_t *json, *again;

	nodes();
	CU_ASSERT_EQUAL(take(text), 0);
	CU_ASSERT_EQUAL(set, CORE_SET_VM_ALL);
	CU_ASSERT_EQUAL(policy.preferred[0], 3);
	CU_ASSERT_EQUAL(policy.preferred[1], 1);
	CU_ASSERT_EQUAL(policy.preferred[2], 0);
	CU_ASSERT_EQUAL(policy.possible, CORE_NODE_BIT(1) | CORE_NODE_BIT(3));
	CU_ASSERT_EQUAL(policy.failback_from, 22);
	CU_ASSERT_EQUAL(policy.failback_to, 5);
	json = cd_policy_json(&st, &policy);
	again = json_loads(text, 0, NULL);
	CU_ASSERT_TRUE(json_equal(json, again));
	json_decref(json);
	json_decref(again);
	CU_ASSERT_EQUAL(take("{\"failover_limit\":null,\"anti_affinity\":null}"), 0);
	CU_ASSERT_EQUAL(set, CORE_SET_LIMIT | CORE_SET_APART);
	CU_ASSERT_EQUAL(policy.failover_limit, CORE_LIMIT_AUTO);
	CU_ASSERT_EQUAL(policy.failover_period_s, CORE_PERIOD_S);
	CU_ASSERT_EQUAL(take("{}"), 0);
	CU_ASSERT_EQUAL(set, 0);
}

static void refused(void)
{
	static const char *const bad[][2] = {
		{ "[]", "an object is needed" },
		{ "{\"prio\":1}", "'prio' is not known" },
		{ "{\"priority\":\"urgent\"}", "priority \"urgent\": allowed high, medium, low, none" },
		{ "{\"priority\":3}", "allowed high" },
		{ "{\"preferred\":\"n1\"}", "a list of up to 16 nodes" },
		{ "{\"preferred\":[\"n1\",\"n1\"]}", "each node once" },
		{ "{\"possible\":[\"n9\"]}", "there is no node 'n9'" },
		{ "{\"possible\":[7]}", "there is no node '?'" },
		{ "{\"anti_affinity\":\"a b\"}", "a name" },
		{ "{\"anti_affinity_hard\":1}", "true, false" },
		{ "{\"failover_limit\":101}", "failover_limit 101: allowed 0 to 100" },
		{ "{\"failover_period_s\":0}", "allowed 1 to 2592000" },
		{ "{\"failback\":\"5-5\"}", "never, immediate, or hours" },
		{ "{\"failback\":\"22-24\"}", "never, immediate, or hours" },
		{ "{\"restart_wait_s\":-1}", "allowed 0 to 3600" },
		{ "{\"drain\":\"kill\"}", "live, quick, shutdown" },
		{ "{\"max_pause_ms\":1.5}", "allowed 0 to 600000" },
	};

	nodes();
	for (unsigned i = 0; i < CL_ARRAY_LEN(bad); i++) {
		CU_ASSERT_TRUE(take(bad[i][0]) < 0);
		CU_ASSERT_PTR_NOT_NULL(strstr(error, bad[i][1]));
		CU_ASSERT_EQUAL(set, 0);
	}
}

UNIT_MAIN("policy as JSON", { "there and back", there_and_back }, { "refused", refused })
