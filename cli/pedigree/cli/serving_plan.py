"""What the servers serve by, read from the online store."""

from __future__ import annotations

import redis.exceptions

from pedigree.online.plans.plan import Plan
from pedigree.online.plans.plan_json import decoded
from pedigree.online.store import redis_keys
from pedigree.online.store.address import client, reason_of
from pedigree.serving.errors import NotAppliedError, StoreUnreachableError
from pedigree.serving.feature_store_yaml import FeatureStoreYaml


def current_plan(repo: FeatureStoreYaml) -> Plan:
    """The plan that the last `feast apply` gave to the servers.

    Raises:
        NotAppliedError: there is none.
        StoreUnreachableError: the store does not answer.
    """
    try:
        text = client(repo.address).get(redis_keys.plan_key(repo.project))
    except redis.exceptions.RedisError as error:
        raise StoreUnreachableError(str(repo.address), reason_of(error)) from error
    if text is None:
        raise NotAppliedError(repo.project, str(repo.path))
    return decoded(text)
