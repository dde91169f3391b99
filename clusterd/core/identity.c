/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What may be there only once in the cluster: a node's address, a MAC.  Says who has it; the commands
 * refuse the second one with that name.  From CORE_LEVEL_IDENTITY on, so that a rolling upgrade decides alike.
 */
#include "clusterd/core/internal.h"

#include <errno.h>
#include <string.h>

const struct core_node *core_address_holder(const struct core_state *st, const char *address)
{
	for (uint8_t id = 1; address[0] && id <= CL_NODES_MAX; id++) {
		const struct core_node *n = &st->nodes[id];

		if (n->state != CORE_NODE_UNUSED && (core_str_equal(n->address, address) ||
						     core_str_equal(n->vm_address, address)))
			return n;
	}
	return NULL;
}

const struct core_vm *core_mac_holder(const struct core_state *st, const uint8_t mac[6],
				      const char *but)
{
	for (uint16_t i = 0; i < st->vm_count; i++) {
		const struct core_vm *vm = &st->vms[i];

		if (vm->state == CORE_VM_UNUSED || core_str_equal(vm->config.name, but))
			continue;
		for (uint8_t k = 0; k < vm->config.net_count; k++)
			if (memcmp(vm->config.nets[k].mac, mac, 6) == 0)
				return vm;
	}
	return NULL;
}

static void mac_text(const uint8_t mac[6], char out[18])
{
	static const char digits[] = "0123456789abcdef";

	for (unsigned i = 0; i < 6; i++) {
		out[3 * i] = digits[mac[i] >> 4];
		out[3 * i + 1] = digits[mac[i] & 15];
		out[3 * i + 2] = i < 5 ? ':' : '\0';
	}
}

void core_macs_check(const struct core_state *st, const struct core_vm_config *c,
		     struct core_answer *ans)
{
	static const uint8_t none[6];
	const struct core_vm *vm;
	char text[18];

	if (st->level < CORE_LEVEL_IDENTITY)
		return;
	for (uint8_t i = 0; i < c->net_count; i++) {
		const uint8_t *mac = c->nets[i].mac;

		mac_text(mac, text);
		if (mac[0] & 1 || memcmp(mac, none, 6) == 0)
			CORE_REFUSE(ans, EINVAL, "vm ", c->name, ": MAC ", text,
				    " is a group address or none: a single machine's is needed");
		for (uint8_t k = 0; k < i; k++)
			if (memcmp(c->nets[k].mac, mac, 6) == 0)
				CORE_REFUSE(ans, EINVAL, "vm ", c->name, ": MAC ", text,
					    " is named for two of its networks");
		vm = core_mac_holder(st, mac, c->name);
		if (vm)
			CORE_REFUSE(ans, EEXIST, "vm ", c->name, ": MAC ", text, " is that of VM ",
				    vm->config.name);
	}
}
