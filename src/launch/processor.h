/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A processor as people describe it: features, and the model that comes next to them. What this
 * host gives its guests is one; so is what a <cpu> element asks for, or what several hosts share.
 */
#ifndef LODGE_LAUNCH_PROCESSOR_H
#define LODGE_LAUNCH_PROCESSOR_H

#include "launch/cpu_model.h"

struct processor {
	const char *vendor;   /* CPU_VENDOR_*; NULL: not said, or somebody else's */
	GHashTable *features; /* a set of char *: Linux's names, all of them offered ones */
};

struct processor *processor_new(const char *vendor);
void processor_free(struct processor *processor);
/* What the software CPU gives guests here, as lodge-vmm says (@vmm_path, or NULL: ours), which is
 * started for that. KVM gives more, if anything. NULL with @error set. */
struct processor *processor_of_host(const char *vmm_path, GError **error);

bool processor_has(const struct processor *processor, const char *feature);
/* @feature may have libvirt's name; what no guest can have is left out. */
void processor_add(struct processor *processor, const char *feature);
void processor_remove(struct processor *processor, const char *feature);
void processor_add_model(struct processor *processor, const struct cpu_model *model);
/* Has it all that @model has? */
bool processor_covers(const struct processor *processor, const struct cpu_model *model);
/* The model with the most features that it covers, of its vendor if it has one. */
const struct cpu_model *processor_best_model(const struct processor *processor);

#endif
