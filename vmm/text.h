/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One line for people, beside an errno. */
#ifndef VMM_TEXT_H
#define VMM_TEXT_H

/* *ret_error = malloc'ed text (ret_error may be NULL); returns -err. */
int vmm_error(char **ret_error, int err, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#endif
