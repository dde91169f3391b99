/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Whom an owner serves a VM's image; see grants.h. */
#include "csv/grants.h"

#include <string.h>

static const struct csv_grant_vm *of_file(const struct csv_grants *g, struct csv_fh fh)
{
	for (size_t i = 0; i < g->count; i++)
		for (unsigned d = 0; d < CSV_GRANTS_DISKS; d++)
			if (g->vms[i].fh[d].ino && csv_fh_equal(g->vms[i].fh[d], fh))
				return &g->vms[i];
	return NULL;
}

static const struct csv_grant_vm *of_vm(const struct csv_grants *g, const char *vm)
{
	for (size_t i = 0; i < g->count; i++)
		if (strcmp(g->vms[i].vm, vm) == 0)
			return &g->vms[i];
	return NULL;
}

static bool node_valid(uint32_t node)
{
	return node >= 1 && node <= CL_NODES_MAX;
}

enum csv_grants_say csv_grants_xopen(const struct csv_grants *g, struct csv_fh fh, uint32_t node,
				     const char *vm, uint64_t generation, const char **ret_vm)
{
	const struct csv_grant_vm *of, *mine;

	if (!g || !g->seq)
		return CSV_GRANTS_YES;
	of = of_file(g, fh);
	if (of && strcmp(of->vm, vm) != 0) {
		*ret_vm = of->vm;
		return CSV_GRANTS_OTHER_VM;
	}
	mine = of_vm(g, vm);
	if (!mine || !node_valid(node) || !mine->generation[node - 1])
		return CSV_GRANTS_NOT_HERE;
	return generation > mine->generation[node - 1] ? CSV_GRANTS_TOO_HIGH : CSV_GRANTS_YES;
}

enum csv_grants_say csv_grants_io(const struct csv_grants *g, struct csv_fh fh, uint32_t node,
				  const char **ret_vm)
{
	const struct csv_grant_vm *of;

	if (!g || !g->seq)
		return CSV_GRANTS_YES;
	of = of_file(g, fh);
	if (!of || (node_valid(node) && of->generation[node - 1]))
		return CSV_GRANTS_YES;
	*ret_vm = of->vm;
	return CSV_GRANTS_NOT_HERE;
}
