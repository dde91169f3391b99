/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The cluster's settings: where each stands in the state, what it may be, and which
 * combinations are refused because they are not safe.
 */
#include "clusterd/core/internal.h"

#include <errno.h>
#include <string.h>

#define SETTINGS_LEVEL_2 11u /* so many are known at level 2 */

const struct core_setting core_settings[] = {
#define CORE_SETTING(name, field, min, max, value, unit, text) { name, unit, text, min, max, value },
#include "clusterd/core/settings.h"
#undef CORE_SETTING
};

static const size_t offsets[] = {
#define CORE_SETTING(name, field, min, max, value, unit, text) offsetof(struct core_state, field),
#include "clusterd/core/settings.h"
#undef CORE_SETTING
};

unsigned core_setting_count(void)
{
	return CL_ARRAY_LEN(offsets);
}

unsigned core_setting_count_at(uint32_t level)
{
	return level < CORE_LEVEL_STORAGE ? SETTINGS_LEVEL_2 : core_setting_count();
}

int core_setting_find(const char *name)
{
	for (unsigned i = 0; i < core_setting_count(); i++)
		if (core_str_equal(core_settings[i].name, name))
			return (int)i;
	return -ENOENT;
}

uint32_t *core_setting_at(struct core_state *st, unsigned setting)
{
	return (uint32_t *)(void *)((char *)st + offsets[setting]);
}

uint32_t core_setting_get(const struct core_state *st, unsigned setting)
{
	uint32_t value;

	memcpy(&value, (const char *)st + offsets[setting], sizeof(value));
	return value;
}

void core_settings_init(struct core_state *st)
{
	for (unsigned i = 0; i < core_setting_count(); i++)
		*core_setting_at(st, i) = core_settings[i].value;
}

void core_settings_apply(struct core_state *st, const struct core_set *sets, uint8_t count)
{
	for (uint8_t i = 0; i < count; i++)
		*core_setting_at(st, sets[i].setting) = sets[i].value;
}

int core_settings_check(const struct core_state *st, const struct core_set *sets, uint8_t count,
			char *text, size_t cap_bytes)
{
	struct core_timing timing = st->timing;
	struct core_text t;

	core_text_init(&t, text, cap_bytes);
	for (uint8_t i = 0; i < count; i++) {
		const struct core_setting *s = &core_settings[sets[i].setting];
		uint32_t v = sets[i].value;
		size_t at = offsets[sets[i].setting] - offsetof(struct core_state, timing);

		if (v < s->min || v > s->max) {
			core_text_add(&t, s->name);
			core_text_add(&t, " ");
			core_text_u64(&t, v);
			core_text_add(&t, ": allowed ");
			core_text_u64(&t, s->min);
			core_text_add(&t, " to ");
			core_text_u64(&t, s->max);
			return -EINVAL;
		}
		if (sets[i].setting >= SETTINGS_LEVEL_2 && st->level < CORE_LEVEL_STORAGE) {
			core_text_add(&t, s->name);
			core_text_add(&t,
				      ": not before all nodes know it: `clusterctl cluster level`");
			return -EINVAL;
		}
		if (at < sizeof(timing))
			memcpy((char *)&timing + at, &v, sizeof(v));
	}
	return core_timing_check(&timing, text, cap_bytes);
}
