/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* All of liblodge. `pkg-config --cflags --libs lodge` has the compiler's options. */
#ifndef LODGE_H
#define LODGE_H

#include <lodge/connection.h>
#include <lodge/domain.h>
#include <lodge/error.h>
#include <lodge/network.h>
#include <lodge/secret.h>
#include <lodge/storage.h>
#include <lodge/stream.h>
#include <lodge/value.h>

#endif
