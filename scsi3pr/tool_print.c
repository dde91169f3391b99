/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Shows what was read.  Decides nothing.  Strings of a target were made printable when they were
 * decoded.
 */
#include "scsi3pr/tool_print.h"

#include <inttypes.h>
#include <stdio.h>

static const unsigned types[] = { 1, 3, 5, 6, 7, 8 };

const char *tool_key_text(uint64_t key, char out[19])
{
	snprintf(out, 19, "0x%016" PRIx64, key);
	return out;
}

json_t *tool_lun_json(const struct scsi3pr_lun *lun)
{
	json_t *paths = json_array();

	for (unsigned i = 0; i < lun->n_paths; i++)
		json_array_append_new(paths, json_string(lun->path[i]));
	return json_pack("{s:s, s:s, s:s, s:I, s:I, s:o}", "id", lun->id, "vendor", lun->vendor,
			 "product", lun->product, "size", (json_int_t)lun->size_bytes, "block",
			 (json_int_t)lun->block_bytes, "paths", paths);
}

json_t *tool_keys_json(const struct scsi3pr_keys *keys)
{
	json_t *list = json_array();
	char text[19];

	for (unsigned i = 0; i < keys->n; i++)
		json_array_append_new(list, json_string(tool_key_text(keys->key[i], text)));
	return json_pack("{s:I, s:o}", "generation", (json_int_t)keys->generation, "keys", list);
}

json_t *tool_reservation_json(const struct scsi3pr_reservation *now)
{
	char text[19];

	if (!now->held)
		return json_null();
	return json_pack("{s:i, s:s, s:i, s:s}", "type", now->type, "name",
			 scsi3pr_type_name(now->type), "scope", now->scope, "key",
			 tool_key_text(now->key, text));
}

json_t *tool_capabilities_json(const struct scsi3pr_capabilities *caps)
{
	json_t *list = json_array();

	for (size_t i = 0; i < CL_ARRAY_LEN(types); i++)
		if (caps->types & 1u << types[i])
			json_array_append_new(list, json_integer(types[i]));
	return json_pack("{s:b, s:b, s:b, s:b, s:b, s:b, s:o}", "aptpl_capable",
			 caps->persist_capable, "aptpl_active", caps->persist_active,
			 "all_target_ports_capable", caps->all_ports_capable,
			 "specify_initiator_ports_capable", caps->specify_initiators_capable,
			 "compatible_reservation_handling", caps->compatible_handling,
			 "type_mask_valid", caps->types_valid, "types", list);
}

json_t *tool_full_status_json(const struct scsi3pr_full_status *status)
{
	json_t *list = json_array();
	char text[19];

	for (unsigned i = 0; i < status->n; i++) {
		const struct scsi3pr_nexus *n = &status->nexus[i];

		json_array_append_new(list,
				      json_pack("{s:s, s:b, s:b, s:i, s:s}", "key",
						tool_key_text(n->key, text), "holder", n->holder,
						"all_target_ports", n->all_ports, "target_port",
						n->target_port, "initiator", n->initiator));
	}
	return list;
}

void tool_lun_print(const struct scsi3pr_lun *lun)
{
	printf("%s  %" PRIu64 " MiB  %s %s ", lun->id[0] ? lun->id : "(no id)",
	       lun->size_bytes >> 20, lun->vendor, lun->product);
	for (unsigned i = 0; i < lun->n_paths; i++)
		printf(" %s", lun->path[i]);
	printf("\n");
}

void tool_keys_print(const struct scsi3pr_keys *keys)
{
	char text[19];

	printf("PRgeneration 0x%" PRIx32 ", %u registered\n", keys->generation, keys->n);
	for (unsigned i = 0; i < keys->n; i++)
		printf("  %s\n", tool_key_text(keys->key[i], text));
}

void tool_reservation_print(const struct scsi3pr_reservation *now)
{
	char text[19];

	if (!now->held)
		printf("reservation: none\n");
	else if (now->key == 0)
		printf("reservation: type %u %s\n", now->type, scsi3pr_type_name(now->type));
	else
		printf("reservation: type %u %s, holder's key %s\n", now->type,
		       scsi3pr_type_name(now->type), tool_key_text(now->key, text));
}

void tool_capabilities_print(const struct scsi3pr_capabilities *caps)
{
	printf("APTPL (registrations survive a power loss of the target): %s, %s\n",
	       caps->persist_capable ? "capable" : "not capable",
	       caps->persist_active ? "active" : "not active");
	printf("all target ports: %s, specify initiator ports: %s, compatible handling: %s\n",
	       caps->all_ports_capable ? "yes" : "no",
	       caps->specify_initiators_capable ? "yes" : "no",
	       caps->compatible_handling ? "yes" : "no");
	if (!caps->types_valid)
		printf("types: the target does not say\n");
	for (size_t i = 0; caps->types_valid && i < CL_ARRAY_LEN(types); i++)
		printf("type %u %s: %s\n", types[i], scsi3pr_type_name(types[i]),
		       caps->types & 1u << types[i] ? "yes" : "no");
}

void tool_full_status_print(const struct scsi3pr_full_status *status)
{
	char text[19];

	for (unsigned i = 0; i < status->n; i++) {
		const struct scsi3pr_nexus *n = &status->nexus[i];

		printf("  %s  %s  target port %u%s\n", tool_key_text(n->key, text), n->initiator,
		       n->target_port, n->holder ? "  holder" : "");
	}
	if (status->truncated)
		printf("  (and more)\n");
}
