#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# The doors of the csvd that was built here.
exec ./csvd_doors_contract ./csvd
