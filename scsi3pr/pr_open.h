/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The two transports' constructors, for scsi3pr_open() only.  name was chosen for them by its form.
 */
#ifndef SCSI3PR_PR_OPEN_H
#define SCSI3PR_PR_OPEN_H

#include "scsi3pr/pr_dev.h"

/* ret_ctx is freed by ret_transport->close.  error has SCSI3PR_TEXT_MAX bytes. */
int pr_sgio_open(const char *path, const struct pr_transport **ret_transport, void **ret_ctx,
		 char *error);
int pr_iscsi_open(const char *url, unsigned timeout_ms, const struct pr_transport **ret_transport,
		  void **ret_ctx, char *error);

#endif
