/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Inside the room: where a guest runs on the host (placement.c), checked and read. */
#ifndef LODGE_DOMAIN_PLACEMENT_H
#define LODGE_DOMAIN_PLACEMENT_H

#include "domain/domain.h"

#include <libxml/tree.h>

bool domain_validate_placement(const struct domain *domain, const xmlNode *root, GError **error);
/* After the number of processors is known. */
void domain_read_placement(struct domain *domain, const xmlNode *root);

#endif
