/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A program that seccomp keeps from looking at files by their paths, which Landlock does not.
 *
 * fstat() of the C library is newfstatat() with a flag. That call takes a path, too, and a filter
 * cannot see what a path says. own_stat.c brings a fstat() that is the call of that name, and
 * newfstatat() can be refused. It is compiled into the programs that want it and into no library.
 */
#ifndef LODGE_BASE_OWN_STAT_H
#define LODGE_BASE_OWN_STAT_H

#include <seccomp.h>

/* Lets fstat() of this program through @filter. 0 or -errno. */
int own_stat_allow(scmp_filter_ctx filter);

#endif
