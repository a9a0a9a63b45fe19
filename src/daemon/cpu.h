/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Processors as XML: this host's, models, what several hosts share. */
#ifndef LODGE_DAEMON_CPU_H
#define LODGE_DAEMON_CPU_H

#include "daemon/daemon.h"
#include "launch/processor.h"

/* This host's, found out once; @daemon owns it. Where lodge-vmm does not say, it has nothing that
 * not every guest has, and the log says why. */
const struct processor *cpu_of_host(struct daemon *daemon);
/* The insides of a <cpu> with that processor, each line after @indent: as <host> has it, or, with
 * @policy, as a domain asks for it, "require" and "disable". The caller frees it. */
char *cpu_elements(const struct processor *processor, const char *indent, bool policy);
/* <model usable='...'> lines for all models. The caller frees it. */
char *cpu_models(const struct processor *host, const char *indent);

#endif
