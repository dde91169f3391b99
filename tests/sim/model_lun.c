/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The model of a LUN.  Follows SPC-4 5.13 (persistent reservations) and tables 67, 68 (who
 * conflicts); where the standard leaves a choice, it does what LIO does.
 */
#include "tests/sim/model_lun.h"

#include <string.h>

static bool all_registrants(unsigned type)
{
	return type == 7 || type == 8;
}

static bool registrants(unsigned type)
{
	return type >= 5 && type <= 8;
}

static bool type_known(unsigned type)
{
	return type == 1 || type == 3 || registrants(type);
}

static unsigned registered_count(const struct model_lun *lun)
{
	unsigned n = 0;

	for (unsigned i = 0; i < MODEL_LUN_NEXUSES; i++)
		n += lun->registered[i];
	return n;
}

static void attention_others(struct model_lun *lun, unsigned nexus, unsigned bit)
{
	for (unsigned i = 0; i < MODEL_LUN_NEXUSES; i++)
		if (i != nexus && lun->registered[i])
			lun->attention[i] |= (uint8_t)bit;
}

void model_lun_init(struct model_lun *lun)
{
	memset(lun, 0, sizeof(*lun));
}

unsigned model_lun_attention_take(struct model_lun *lun, unsigned nexus)
{
	unsigned bit = lun->attention[nexus] & -lun->attention[nexus];

	lun->attention[nexus] &= (uint8_t)~bit;
	return bit;
}

bool model_lun_have_key(const struct model_lun *lun, uint64_t key)
{
	for (unsigned i = 0; i < MODEL_LUN_NEXUSES; i++)
		if (lun->registered[i] && lun->key[i] == key)
			return true;
	return false;
}

static bool holds(const struct model_lun *lun, unsigned nexus)
{
	if (!lun->held)
		return false;
	return all_registrants(lun->type) ? lun->registered[nexus] : lun->holder == nexus;
}

/* 5.13.11.2.3: the holder of a registrants-only type takes the reservation with it; all
 * registrants, the last. */
static void unregister(struct model_lun *lun, unsigned nexus)
{
	bool was_holder = holds(lun, nexus);

	lun->registered[nexus] = false;
	lun->key[nexus] = 0;
	if (!was_holder || (all_registrants(lun->type) && registered_count(lun) > 0))
		return;
	lun->held = false;
	if (registrants(lun->type))
		attention_others(lun, nexus, MODEL_LUN_UA_RELEASED);
}

enum model_lun_status model_lun_register(struct model_lun *lun, unsigned nexus, uint64_t key,
					 uint64_t new_key, bool ignore, bool aptpl)
{
	if (aptpl && lun->no_aptpl)
		return MODEL_LUN_REFUSED;
	if (!ignore && key != (lun->registered[nexus] ? lun->key[nexus] : 0))
		return MODEL_LUN_CONFLICT;
	lun->generation++;
	lun->aptpl = aptpl;
	if (new_key == 0) {
		if (lun->registered[nexus])
			unregister(lun, nexus);
	} else {
		lun->registered[nexus] = true;
		lun->key[nexus] = new_key;
	}
	return MODEL_LUN_GOOD;
}

static bool key_matches(const struct model_lun *lun, unsigned nexus, uint64_t key)
{
	return lun->registered[nexus] && lun->key[nexus] == key;
}

/* 5.13.9 */
enum model_lun_status model_lun_reserve(struct model_lun *lun, unsigned nexus, uint64_t key,
					unsigned type)
{
	if (!type_known(type))
		return MODEL_LUN_REFUSED;
	if (!key_matches(lun, nexus, key))
		return MODEL_LUN_CONFLICT;
	if (lun->held)
		return holds(lun, nexus) && lun->type == type ? MODEL_LUN_GOOD : MODEL_LUN_CONFLICT;
	lun->held = true;
	lun->type = (uint8_t)type;
	lun->holder = (uint8_t)nexus;
	return MODEL_LUN_GOOD;
}

/* 5.13.11.2.2 */
enum model_lun_status model_lun_release(struct model_lun *lun, unsigned nexus, uint64_t key,
					unsigned type)
{
	if (!key_matches(lun, nexus, key))
		return MODEL_LUN_CONFLICT;
	if (!holds(lun, nexus))
		return MODEL_LUN_GOOD;
	if (type != lun->type)
		return MODEL_LUN_REFUSED;
	lun->held = false;
	if (registrants(lun->type))
		attention_others(lun, nexus, MODEL_LUN_UA_RELEASED);
	return MODEL_LUN_GOOD;
}

static bool victim_holds(const struct model_lun *lun, uint64_t victim_key)
{
	return lun->held && !all_registrants(lun->type) && lun->registered[lun->holder] &&
	       lun->key[lun->holder] == victim_key;
}

/* 5.13.11.2.4 to 5.13.11.2.6 */
enum model_lun_status model_lun_preempt(struct model_lun *lun, unsigned nexus, uint64_t key,
					uint64_t victim_key, unsigned type, bool abort_tasks,
					uint32_t *ret_aborted)
{
	bool everybody = lun->held && all_registrants(lun->type) && victim_key == 0;
	bool takes_over = everybody || victim_holds(lun, victim_key);
	bool from_holder =
		lun->held && lun->registered[lun->holder] && lun->key[lun->holder] == victim_key;
	uint32_t preempted = 0;

	if (abort_tasks && lun->no_abort)
		return MODEL_LUN_REFUSED;
	if (!key_matches(lun, nexus, key))
		return MODEL_LUN_CONFLICT;
	if (victim_key == 0 && !everybody)
		return MODEL_LUN_REFUSED;
	if (!everybody && !model_lun_have_key(lun, victim_key))
		return MODEL_LUN_CONFLICT;
	if (takes_over && !type_known(type))
		return MODEL_LUN_REFUSED;
	for (unsigned i = 0; i < MODEL_LUN_NEXUSES; i++) {
		if (!lun->registered[i] || i == nexus || (!everybody && lun->key[i] != victim_key))
			continue;
		preempted |= 1u << i;
		lun->registered[i] = false;
		lun->key[i] = 0;
		lun->attention[i] |= MODEL_LUN_UA_REGISTRATIONS;
	}
	/* Preempting one's own key without holding the reservation removes one's own registration.
	 */
	if (!takes_over && victim_key == key) {
		preempted |= 1u << nexus;
		lun->registered[nexus] = false;
		lun->key[nexus] = 0;
		if (lun->held && all_registrants(lun->type) && registered_count(lun) == 0)
			lun->held = false;
	}
	if (takes_over) {
		if (lun->type != type)
			attention_others(lun, nexus, MODEL_LUN_UA_RELEASED);
		lun->type = (uint8_t)type;
		lun->holder = (uint8_t)nexus;
	}
	lun->generation++;
	if (ret_aborted)
		*ret_aborted = abort_tasks && !(lun->lazy_abort && !from_holder) ? preempted : 0;
	return MODEL_LUN_GOOD;
}

/* 5.13.11.2.7 */
enum model_lun_status model_lun_clear(struct model_lun *lun, unsigned nexus, uint64_t key)
{
	if (!key_matches(lun, nexus, key))
		return MODEL_LUN_CONFLICT;
	attention_others(lun, nexus, MODEL_LUN_UA_RESERVATIONS);
	memset(lun->registered, 0, sizeof(lun->registered));
	memset(lun->key, 0, sizeof(lun->key));
	lun->held = false;
	lun->generation++;
	return MODEL_LUN_GOOD;
}

static bool member(const struct model_lun *lun, unsigned nexus)
{
	return registrants(lun->type) ? lun->registered[nexus] : lun->holder == nexus;
}

bool model_lun_may_write(const struct model_lun *lun, unsigned nexus)
{
	return !lun->held || member(lun, nexus);
}

bool model_lun_may_read(const struct model_lun *lun, unsigned nexus)
{
	bool exclusive = lun->type == 3 || lun->type == 6 || lun->type == 8;

	return !lun->held || !exclusive || member(lun, nexus);
}

void model_lun_power_cycle(struct model_lun *lun)
{
	if (!lun->aptpl) {
		memset(lun->registered, 0, sizeof(lun->registered));
		memset(lun->key, 0, sizeof(lun->key));
		lun->held = false;
		lun->generation = 0;
	}
	for (unsigned i = 0; i < MODEL_LUN_NEXUSES; i++)
		lun->attention[i] = MODEL_LUN_UA_RESET;
}

void model_lun_reset(struct model_lun *lun, unsigned nexus)
{
	for (unsigned i = 0; i < MODEL_LUN_NEXUSES; i++)
		if (i != nexus)
			lun->attention[i] |= MODEL_LUN_UA_RESET;
}

void model_lun_nexus_reset(struct model_lun *lun, unsigned nexus)
{
	lun->attention[nexus] = MODEL_LUN_UA_RESET;
}
