/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Limits as the rooms that use them know them; the rows are the XML's (tune.c). */
#ifndef LODGE_DOMAIN_TUNE_H
#define LODGE_DOMAIN_TUNE_H

#include "domain/domain.h"

#include <libxml/tree.h>

bool domain_validate_limits(struct domain *domain, const xmlNode *root, GError **error);
void domain_read_limits(struct domain *domain, const xmlNode *root);

/* Writes one limit into a tree; 0 takes it out. */
void domain_set_limit(xmlNode *root, enum domain_limit limit, s64 amount);
/* Writes one limit of the device at @path; 0 takes it out, and the device with its last one. */
void domain_set_io_limit(xmlNode *root, const char *path, enum domain_io_limit limit, u64 amount);

#endif
