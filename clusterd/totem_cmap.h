/* SPDX-License-Identifier: GPL-2.0-or-later */
/* corosync's own times, as it runs.  May block: workers only. */
#ifndef CD_TOTEM_CMAP_H
#define CD_TOTEM_CMAP_H

#include "clusterd/core/model.h"

/* known is false when corosync does not tell. */
struct core_totem cd_totem_read(void);

#endif
