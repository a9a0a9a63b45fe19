/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The state table of a processor: every member of struct x86_state.
 */
#ifndef LODGE_STATE_VCPU_STATE_H
#define LODGE_STATE_VCPU_STATE_H

#include "cpu/arch.h"
#include "state/state.h"

extern const struct state_field vcpu_state_fields[];

#endif
