/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the core; nobody else includes it. */
#ifndef CLUSTERD_CORE_INTERNAL_H
#define CLUSTERD_CORE_INTERNAL_H

#include "clusterd/core/core.h"
#include "clusterd/core/mutant.h"
#include "clusterd/core/text.h"
#include "clusterd/core/timing.h"

struct coder;

/* command.c: size and readonly, in one number of commands and snapshots alike. */
void core_disk_code(struct coder *c, struct core_disk *disk);

#define CORE_REFUSE(ans, code, ...)                                                                \
	do {                                                                                       \
		(ans)->err = -(code);                                                              \
		core_text_join((ans)->text, sizeof((ans)->text), __VA_ARGS__, NULL);               \
		return;                                                                            \
	} while (0)

/* identity.c */
void core_macs_check(const struct core_state *st, const struct core_vm_config *c,
		     struct core_answer *ans);

/* state.c */
static inline struct core_cause core_cause(enum core_reason why, uint8_t node, uint64_t n1,
					   uint64_t n2)
{
	return (struct core_cause){ .reason = (uint8_t)why, .node = node, .n1 = n1, .n2 = n2 };
}

/* Takes what came with the entry into a cause whose words have a place for it. */
/*
 * When to try again what has failed since since_ms: the wait is as long as the trouble has lasted (so it
 * doubles), between retry_ms and CORE_RETRY_MAX_MS.
 */
uint64_t core_retry_at(const struct core_state *st, uint64_t since_ms);
void core_cause_tell(const struct core_state *st, struct core_cause *cause);
void core_trace_add(struct core_state *st, enum core_object object, const char *name,
		    uint8_t before, uint8_t after, enum core_reason why, uint8_t node, uint64_t n1,
		    uint64_t n2);
uint64_t core_job_new(struct core_state *st, uint8_t command, enum core_object object,
		      uint16_t index, const char *name);
void core_job_end(struct core_state *st, uint64_t *job, bool done, const char *text);
void core_job_end_reason(struct core_state *st, uint64_t *job, bool done, enum core_reason why,
			 uint8_t node, uint64_t n1, uint64_t n2);
/* A member in good standing, which can carry out effects on VMs and volumes. */
bool core_node_ok(const struct core_state *st, uint8_t id);
bool core_node_up(const struct core_state *st, uint8_t id); /* ... and takes new VMs */

/* timing.c: 0, or -EINVAL with the inequality in numbers */
int core_timing_check(const struct core_timing *timing, char *text, size_t cap_bytes);

/* settings.c */
uint32_t *core_setting_at(struct core_state *st, unsigned setting);
void core_settings_apply(struct core_state *st, const struct core_set *sets, uint8_t count);

/* effect.c */
struct core_effect *core_effect_new(struct core_state *st, enum core_effect_kind kind, uint8_t node,
				    uint16_t volume, uint16_t vm);
/* kind 0, node 0, volume or vm CORE_NONE: any. */
struct core_effect *core_effect_find(struct core_state *st, uint8_t kind, uint8_t node,
				     uint16_t volume, uint16_t vm);
void core_effect_drop(struct core_state *st, struct core_effect *fx);
void core_effects_drop_vm(struct core_state *st, uint16_t vm);
void core_effect_result(struct core_state *st, const struct core_result *result);

/* node.c */
void core_node_set(struct core_state *st, struct core_node *n, uint8_t state, enum core_reason why,
		   uint8_t node, uint64_t n1, uint64_t n2);
void core_node_members(struct core_state *st, core_nodes members, core_nodes alive);
void core_node_hello(struct core_state *st, const struct core_command *cmd);
/* storage.c: nodes whose paths to a LUN are gone */
void core_storage_said(struct core_state *st, const struct core_command *cmd);
void core_storage_reconcile(struct core_state *st, uint16_t volume);
bool core_storage_waits(const struct core_state *st, const struct core_volume *v);
/* Given up: only a proof helps from here on; it is to stop everything itself, if it still can. */
void core_node_give_up(struct core_state *st, struct core_node *n, enum core_reason why,
		       uint64_t n1);
void core_node_key_lost(struct core_state *st, const struct core_command *cmd);
void core_node_csvd_lost(struct core_state *st, const struct core_command *cmd);
/* Its csvd is this instance (0: not known); what an earlier one had attached is gone. */
void core_node_csvd_is(struct core_state *st, struct core_node *n, uint64_t instance);
void core_node_result(struct core_state *st, const struct core_effect *fx,
		      const struct core_result *result);
/* The present incarnation can neither write nor run: everything it held is free. */
void core_node_over(struct core_state *st, struct core_node *n, enum core_proof proof,
		    enum core_reason why, uint64_t n1, uint64_t n2);
uint8_t core_fence_executor(const struct core_state *st, const struct core_volume *v,
			    const struct core_node *victim);
void core_node_reconcile(struct core_state *st, struct core_node *n);
/* True if the VM would be restarted by the cluster alone, which is disarmed. */
static inline bool core_disarmed_waits(const struct core_state *st, struct core_vm *vm)
{
	if (!st->disarmed || vm->job)
		return false;
	vm->cause = core_cause(CORE_WHY_DISARMED_NO_START, 0, 0, 0);
	return true;
}
/* After takeover_ms was set: nodes may still go by what it was. */
void core_node_timing_changed(struct core_state *st, uint32_t before_ms);
/* Hours must pass, in cluster time, before something of it changes. */
bool core_node_waits_long(const struct core_state *st, const struct core_node *n);

/* volume.c */
void core_volume_set(struct core_state *st, struct core_volume *v, uint8_t state,
		     enum core_reason why, uint8_t node, uint64_t n1, uint64_t n2);
void core_volume_node_over(struct core_state *st, uint16_t index, const struct core_node *n,
			   enum core_proof proof);
void core_volume_result(struct core_state *st, const struct core_effect *fx,
			const struct core_result *result);
void core_volume_reconcile(struct core_state *st, uint16_t index);
/* Nodes that may still write to it and are not in good standing. */
core_nodes core_volume_unproven(const struct core_state *st, const struct core_volume *v);

/* vm.c */
void core_vm_set(struct core_state *st, struct core_vm *vm, uint8_t state, enum core_reason why,
		 uint8_t node, uint64_t n1, uint64_t n2);
void core_vm_why(struct core_vm *vm, enum core_reason why, uint8_t node, uint64_t n1);
void core_vm_result(struct core_state *st, const struct core_effect *fx,
		    const struct core_result *result);
void core_vm_exit(struct core_state *st, const struct core_command *cmd);
void core_vm_trouble(struct core_state *st, const struct core_command *cmd);
void core_vm_reported(struct core_state *st, uint8_t node, const struct core_command *hello);
void core_vm_node_lost(struct core_state *st, uint16_t index, uint8_t node);
void core_vm_node_over(struct core_state *st, uint16_t index, const struct core_node *n);
void core_vm_reconcile(struct core_state *st, uint16_t index);
/* Its process at node has ended for good and it should be somewhere: wait, or rest. */
void core_vm_copy_ended(struct core_state *st, struct core_vm *vm, uint8_t node,
			enum core_reason why, bool failure, uint64_t n1);
void core_vm_query(struct core_state *st, struct core_vm *vm, uint8_t node);
/* A drain's last rung: the guest shuts down, and the VM starts elsewhere. */
void core_vm_shutdown(struct core_state *st, struct core_vm *vm);
void core_vm_kill(struct core_state *st, struct core_vm *vm, uint8_t node, uint64_t generation);
static inline uint16_t core_vm_index(const struct core_state *st, const struct core_vm *vm)
{
	return (uint16_t)(vm - st->vms);
}

/* disk.c */
void core_disk_result(struct core_state *st, struct core_vm *vm, const struct core_effect *fx,
		      const struct core_result *result);
/* One disk at a time, at its volume's owner; true when all are done. */
bool core_disks_step(struct core_state *st, uint16_t index, enum core_effect_kind kind);

/* migrate.c */
/* By rung LIVE to QUICK.  drain: an aborted move goes on with the next rung, see drain.c. */
int core_migrate_start(struct core_state *st, struct core_vm *vm, uint8_t target, enum core_rung rung,
		       bool drain);
void core_migrate_abort(struct core_state *st, struct core_vm *vm, enum core_reason why,
			uint8_t node, uint64_t n1);
void core_migrate_result(struct core_state *st, struct core_vm *vm, const struct core_effect *fx,
			 const struct core_result *result);
void core_migrate_seen(struct core_state *st, struct core_vm *vm, uint8_t node, uint8_t seen);
void core_migrate_reconcile(struct core_state *st, struct core_vm *vm);
void core_migrate_node_over(struct core_state *st, struct core_vm *vm, const struct core_node *n);

/* drain.c */
void core_drain_reconcile(struct core_state *st, struct core_node *n);
/* What a drain said of a running VM does not hold any more when its node is not drained. */
void core_drain_forget(const struct core_state *st, struct core_vm *vm);
/* A running VM that has a home elsewhere goes there when it may. */
void core_failback_reconcile(struct core_state *st, struct core_vm *vm);
/* Only an hour of the day keeps it from going home. */
bool core_failback_waits(const struct core_state *st, const struct core_vm *vm);
/* Quick migration needs a volume for the image. */
bool core_vm_savable(const struct core_vm *vm);

/* place.c */
uint8_t core_place(const struct core_state *st, const struct core_vm *vm, core_nodes except);
bool core_place_fits(const struct core_state *st, const struct core_vm *vm, uint8_t node);
bool core_place_preferred(const struct core_vm *vm, uint8_t node);
/* 0, or why its volumes keep it from starting anywhere now. */
enum core_reason core_place_volumes(const struct core_state *st, const struct core_vm *vm,
				    uint8_t *ret_node);

/* restart.c */
/* Failures are counted: time must go on. */
bool core_restart_counts(const struct core_state *st, const struct core_vm *vm);
/* Counts a failure; true if that was one too many. */
bool core_restart_failed(struct core_state *st, struct core_vm *vm);
bool core_restart_last(const struct core_state *st, const struct core_vm *vm); /* one more would be */
/* It ended so, and its priority says that it is not started again. */
bool core_restart_never(const struct core_vm *vm, enum core_reason why);
/* Higher classes go first: which one, and how long at most. */
bool core_restart_queue(const struct core_state *st, const struct core_vm *vm, uint8_t *ret_priority,
			uint64_t *ret_left_ms);

/* policy.c */
void core_policy_default(struct core_vm_policy *policy);
/* Merges what cmd sets; or refuses, and nothing is changed. */
int core_policy_take(const struct core_state *st, struct core_vm_policy *policy,
		     const struct core_command *cmd, const char *name, struct core_answer *ans);
void core_op_vm_set(struct core_state *st, struct core_vm *vm, const struct core_command *cmd,
		    struct core_answer *ans);
void core_policy_code(struct coder *c, struct core_vm_policy *policy, uint32_t set);

/* explain.c */
/* Why node cannot take the VM now, in words; "" if it can. */
void core_explain_fit(const struct core_state *st, const struct core_vm *vm, uint8_t node, char *text,
		      size_t cap_bytes);
/* "n1: ...; n2: ..." of all nodes but except that cannot. */
void core_explain_nowhere(const struct core_state *st, const struct core_vm *vm, core_nodes except,
			  char *text, size_t cap_bytes);
/* Lines for `why`: the nodes that cannot take the VM; the VMs that a draining node still has. */
void core_explain_vm(struct core_text *t, const struct core_state *st, const struct core_vm *vm);
void core_explain_node(struct core_text *t, const struct core_state *st, const struct core_node *n);

/* operator.c */
void core_operator(struct core_state *st, const struct core_command *cmd,
		   struct core_answer *ret_answer);
/* ans->err says whether it would be taken; nothing is changed.  For what may stand in a batch. */
void core_vm_create_check(const struct core_state *st, const struct core_command *cmd,
			  struct core_answer *ans);
void core_vm_change_check(const struct core_state *st, const struct core_command *cmd,
			  struct core_answer *ans);

/* batch.c */
void core_batch_part(struct core_state *st, const struct core_command *cmd, struct core_answer *ans);
void core_batch_apply(struct core_state *st, const struct core_command *cmd, struct core_answer *ans);

#endif
