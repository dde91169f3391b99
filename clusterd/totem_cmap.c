/* SPDX-License-Identifier: GPL-2.0-or-later */
/* corosync's cmap behind totem_cmap.h. */
#include "clusterd/totem_cmap.h"

#include <corosync/cmap.h>

struct core_totem cd_totem_read(void)
{
	struct core_totem totem = { 0 };
	cmap_handle_t handle;

	if (cmap_initialize(&handle) != CS_OK)
		return totem;
	totem.known = cmap_get_uint32(handle, "runtime.config.totem.token", &totem.token_ms) == CS_OK &&
		      cmap_get_uint32(handle, "runtime.config.totem.consensus",
				      &totem.consensus_ms) == CS_OK;
	cmap_finalize(handle);
	return totem;
}
