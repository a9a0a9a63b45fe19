/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between the files of the domain room: the reading that follows every change of the tree. */
#ifndef LODGE_DOMAIN_COMPLETE_H
#define LODGE_DOMAIN_COMPLETE_H

#include "domain/domain.h"

/* read.c: fills the fields of @domain from its tree, which has been checked. */
void domain_read(struct domain *domain);
/* read.c: forgets what domain_read() filled in. */
void domain_forget(struct domain *domain);

#endif
