/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Models of processors, as <cpu><model> names them: each is the list of optional features it has.
 * Features have Linux's names (/proc/cpuinfo), as in plans, where nothing else is said; libvirt's
 * are partly others.
 */
#ifndef LODGE_LAUNCH_CPU_MODEL_H
#define LODGE_LAUNCH_CPU_MODEL_H

#include "base/types.h"

#include <glib.h>

#define CPU_VENDOR_AMD   "AMD"
#define CPU_VENDOR_INTEL "Intel"

struct cpu_model;

/* Variants too, such as EPYC-v2 and Haswell-noTSX, which differ in nothing that is listed; NULL:
 * this version has none of that name. */
const struct cpu_model *cpu_model_find(const char *name);
/* All of them, from 0 on; NULL: there are no more. */
const struct cpu_model *cpu_model_at(unsigned index);
const char *cpu_model_name(const struct cpu_model *model);
/* CPU_VENDOR_*; NULL: nobody's. */
const char *cpu_model_vendor(const struct cpu_model *model);
bool cpu_model_has(const struct cpu_model *model, const char *feature);

/* Those that models differ in; ends with NULL. */
const char *const *cpu_features_optional(void);
/* Can a guest have it, in a model or, like many, anyway? */
bool cpu_feature_is_offered(const char *name);
/* Of libvirt's name, or Linux's own; the caller frees it. */
char *cpu_feature_linux_name(const char *name);
/* A constant, or @name itself. */
const char *cpu_feature_libvirt_name(const char *name);

#endif
