/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Trace records and "why" in words.  Decides nothing. */
#include "clusterd/core/internal.h"

#include <errno.h>
#include <string.h>

static const char *reason_text(uint8_t reason)
{
	static const char *const texts[] = {
		"",
#define CORE_WHY(name, text) text,
#include "clusterd/core/reasons.h"
#undef CORE_WHY
	};

	return reason < CL_ARRAY_LEN(texts) ? texts[reason] : "?";
}

static void add_number(struct core_text *t, uint64_t v)
{
	/* Keys and such are easier to compare in hexadecimal. */
	if (v > UINT32_MAX)
		core_text_hex(t, v);
	else
		core_text_u64(t, v);
}

static void add_node(struct core_text *t, const struct core_state *st, uint8_t node)
{
	if (st && node && node <= CL_NODES_MAX && st->nodes[node].name[0])
		core_text_add(t, st->nodes[node].name);
	else
		core_text_u64(t, node);
}

/* The text without the words that the sentence has said already: "node n1: ", "VM a on node n1: ".
 */
static const char *text_start(const struct core_state *st, const struct core_cause *cause)
{
	const char *text = cause->text, *colon = strchr(text, ':');
	const char *name =
		st && cause->node && cause->node <= CL_NODES_MAX ? st->nodes[cause->node].name : "";
	size_t len = strlen(name);

	if (!len || !colon || colon[1] != ' ' || (size_t)(colon - text) < len + 5)
		return text;
	if (memcmp(colon - len, name, len) == 0 && memcmp(colon - len - 5, "node ", 5) == 0 &&
	    (colon - len - 5 == text || memcmp(text, "VM ", 3) == 0))
		return colon + 2;
	return text;
}

static void add_words(struct core_text *t, const struct core_state *st,
		      const struct core_cause *cause, const char *words, const char *what,
		      uint64_t v)
{
	if (cause->text[0]) {
		core_text_add(t, text_start(st, cause));
	} else if (words) {
		core_text_add(t, words);
	} else {
		core_text_add(t, what);
		core_text_u64(t, v);
	}
}

static void add_more(struct core_text *t, const struct core_state *st,
		     const struct core_cause *cause)
{
	if (!cause->text[0])
		return;
	core_text_add(t, "; the last failure: ");
	core_text_add(t, text_start(st, cause));
}

static void add_cause(struct core_text *t, const struct core_state *st,
		      const struct core_cause *cause)
{
	const char *s;

	for (s = reason_text(cause->reason); *s; s++) {
		char one[2] = { *s, '\0' };

		if (*s != '%' || !s[1]) {
			core_text_add(t, one);
			continue;
		}
		s++;
		if (*s == 'n')
			add_node(t, st, cause->node);
		else if (*s == 'v')
			core_text_add(t, st && cause->n1 < CORE_VOLUMES_MAX
						 ? st->volumes[cause->n1].name
						 : "?");
		else if (*s == 'e')
			add_words(t, st, cause, core_errno_text(cause->n1), "error ", cause->n1);
		else if (*s == 'f')
			add_words(t, st, cause, core_errno_text(cause->n2), "error ", cause->n2);
		else if (*s == 'x')
			add_words(t, st, cause, core_exit_text(cause->n1), "reason ", cause->n1);
		else if (*s == 't')
			add_more(t, st, cause);
		else if (*s == 'w')
			core_text_add(t, cause->text);
		else if (*s == 's')
			core_text_add(t, cause->n1 < core_setting_count() ?
						 core_settings[cause->n1].name : "a setting");
		else
			add_number(t, *s == '1' ? cause->n1 : cause->n2);
	}
}

void core_cause_render(const struct core_state *st, const struct core_cause *cause, char *text,
		       size_t cap_bytes)
{
	struct core_text t;

	core_text_init(&t, text, cap_bytes);
	add_cause(&t, st, cause);
}

void core_cause_tell(const struct core_state *st, struct core_cause *cause)
{
	const char *s = reason_text(cause->reason);

	if (!st->told || !st->told[0] || st->level < CORE_LEVEL_CAUSES)
		return;
	for (; *s; s++)
		if (*s == '%' && s[1] && strchr("efxtw", s[1]))
			break;
	if (*s)
		core_str_copy(cause->text, sizeof(cause->text), st->told);
}

const char *core_object_name(uint8_t object)
{
	static const char *const names[] = { "?", "cluster", "node", "volume", "vm", "job" };

	return object < CL_ARRAY_LEN(names) ? names[object] : "?";
}

const char *core_object_state_name(uint8_t object, uint8_t state)
{
	switch (object) {
	case CORE_OBJECT_NODE:
		return core_node_state_name(state);
	case CORE_OBJECT_VOLUME:
		return core_volume_state_name(state);
	case CORE_OBJECT_VM:
		return core_vm_state_name(state);
	}
	return state ? "there" : "none";
}

/* "up -> lost: corosync lost it" */
static void add_change(struct core_text *t, const struct core_state *st,
		       const struct core_trace *trace)
{
	if (trace->before != trace->after) {
		core_text_add(t, core_object_state_name(trace->object, trace->before));
		core_text_add(t, " -> ");
	}
	core_text_add(t, core_object_state_name(trace->object, trace->after));
	core_text_add(t, ": ");
	add_cause(t, st, &trace->cause);
}

void core_trace_render(const struct core_state *st, const struct core_trace *trace, char *text,
		       size_t cap_bytes)
{
	struct core_text t;

	core_text_init(&t, text, cap_bytes);
	core_text_add(&t, core_object_name(trace->object));
	core_text_add(&t, " ");
	core_text_add(&t, trace->name);
	core_text_add(&t, ": ");
	add_change(&t, st, trace);
}

/* ---- why ------------------------------------------------------------------------------------ */

static void why_vm(struct core_text *t, const struct core_state *st, const struct core_vm *vm)
{
	core_text_add(t, "VM ");
	core_text_add(t, vm->config.name);
	core_text_add(t, " is ");
	core_text_add(t, core_vm_state_name(vm->state));
	if (vm->node && vm->copies) {
		core_text_add(t, " on node ");
		add_node(t, st, vm->node);
		if (!core_node_ok(st, vm->node)) {
			core_text_add(t, ", which is ");
			core_text_add(t, core_node_state_name(st->nodes[vm->node].state));
			core_text_add(t, " (so what it does there cannot be seen)");
		}
	}
	core_text_add(t, vm->run ? "; it should run" : "; it should not run");
	core_text_add(t, "; generation ");
	core_text_u64(t, vm->generation);
	if (vm->cause.reason) {
		core_text_add(t, ": ");
		add_cause(t, st, &vm->cause);
	}
	core_text_add(t, ".\n");
	core_explain_vm(t, st, vm);
}

static void why_node(struct core_text *t, const struct core_state *st, const struct core_node *n)
{
	core_text_add(t, "Node ");
	core_text_add(t, n->name);
	core_text_add(t, " is ");
	core_text_add(t, core_node_state_name(n->state));
	if (n->cause.reason) {
		core_text_add(t, ": ");
		add_cause(t, st, &n->cause);
	}
	core_text_add(t, "; incarnation ");
	core_text_u64(t, n->incarnation);
	core_text_add(t, ", key ");
	core_text_hex(t, n->pr_key);
	if (n->over) {
		core_text_add(t, "; proof that it holds nothing: ");
		core_text_add(t, core_proof_name(n->proof));
	}
	core_text_add(t, ".\n");
	core_explain_node(t, st, n);
}

static void why_volume(struct core_text *t, const struct core_state *st, const struct core_volume *v)
{
	core_nodes unproven = core_volume_unproven(st, v);
	uint8_t id;

	core_text_add(t, "Volume ");
	core_text_add(t, v->name);
	core_text_add(t, " is ");
	core_text_add(t, core_volume_state_name(v->state));
	if (v->cause.reason) {
		core_text_add(t, ": ");
		add_cause(t, st, &v->cause);
	}
	core_text_add(t, v->owner ? "; owner " : "; without owner");
	if (v->owner)
		add_node(t, st, v->owner);
	core_text_add(t, ", term ");
	core_text_u64(t, v->term);
	for (id = 1; id <= CL_NODES_MAX; id++) {
		if (!(unproven & CORE_NODE_BIT(id)))
			continue;
		core_text_add(t, "; node ");
		add_node(t, st, id);
		core_text_add(t, " may still write to it");
	}
	core_text_add(t, ".\n");
}

int core_why(const struct core_state *st, enum core_object object, const char *name, char *text,
	     size_t cap_bytes)
{
	uint32_t used = st->trace_total < CORE_TRACE_MAX ? (uint32_t)st->trace_total : CORE_TRACE_MAX;
	const struct core_volume *v;
	const struct core_node *n;
	const struct core_vm *vm;
	struct core_text t;
	uint32_t i;

	core_text_init(&t, text, cap_bytes);
	switch (object) {
	case CORE_OBJECT_VM:
		vm = core_vm_find(st, name, NULL);
		if (!vm)
			return -ENOENT;
		why_vm(&t, st, vm);
		break;
	case CORE_OBJECT_NODE:
		n = core_node_find(st, name);
		if (!n)
			return -ENOENT;
		why_node(&t, st, n);
		break;
	case CORE_OBJECT_VOLUME:
		v = core_volume_find(st, name, NULL);
		if (!v)
			return -ENOENT;
		why_volume(&t, st, v);
		break;
	default:
		return -ENOENT;
	}
	for (i = 0; i < used; i++) {
		const struct core_trace *trace =
			&st->trace[(st->trace_next + CORE_TRACE_MAX - used + i) % CORE_TRACE_MAX];

		if (trace->object != object || !core_str_equal(trace->name, name))
			continue;
		core_text_add(&t, "  entry ");
		core_text_u64(&t, trace->seq);
		core_text_add(&t, ": ");
		add_change(&t, st, trace);
		core_text_add(&t, "\n");
	}
	return 0;
}
