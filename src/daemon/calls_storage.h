/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the calls about pools and those about volumes share. */
#ifndef LODGE_DAEMON_CALLS_STORAGE_H
#define LODGE_DAEMON_CALLS_STORAGE_H

#include "daemon/pools.h"
#include "rpc_constants.h"
#include "rpc_protocol.h"

struct keeper *call_pools(const struct rpc_call *call);
/* Anybody may read; a pool and its volumes are changed by root, and by who has defined the pool.
 * False: the call has been failed. */
bool call_may(struct rpc_call *call, const struct kept *pool);
/* The active pool that @pool names; NULL: the call has been failed. */
struct kept *call_pool_active(struct rpc_call *call, const struct rpc_storage_pool *pool);
/* @kept as clients are told of it. */
struct rpc_storage_pool call_pool_told(struct rpc_call *call, const struct kept *kept);
/* The volume that @vol names, and its pool; NULL: the call has been failed. */
const struct volume *call_volume(struct rpc_call *call, const struct rpc_storage_vol *vol,
				 struct kept **pool);
/* Answers a call that returns nothing, when its job is done. */
void call_job_done(struct pool_job *job);

#endif
