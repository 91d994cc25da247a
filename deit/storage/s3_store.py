"""S3 and compatible stores (OBS, MinIO, Ceph), through s3fs.

Keys come from boto's usual places: the environment (``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``,
``AWS_PROFILE``), the user's AWS files, the role of the machine. So does the endpoint (``AWS_ENDPOINT_URL``); for obs:// also
``OBS_ENDPOINT`` or ``S3_ENDPOINT``, as on ModelArts.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import s3fs
from botocore import exceptions as boto

from deit.config.addresses import split
from deit.errors import UserError
from deit.runs.directory import DISK_FULL
from deit.storage.store import NothingThere, Object, Store, StoreError, Unreachable

PIECE = 16 << 20  # bytes per request
CONNECT, READ = 5, 20  # timeouts in seconds for a connection, and for the next bytes
ATTEMPTS = 2  # of a request without a response; ``download`` retries longer
AWS_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")  # read by boto itself
MODELARTS_ENDPOINTS = ("OBS_ENDPOINT", "S3_ENDPOINT")
AWAY = (
    *(boto.EndpointConnectionError, boto.ConnectTimeoutError, boto.ReadTimeoutError, boto.ConnectionClosedError),
    *(boto.HTTPClientError, TimeoutError, ConnectionError),
)
BUSY = ("InternalError", "SlowDown", "ServiceUnavailable", "RequestTimeout", "500", "502", "503", "504")


def endpoint(address: str, key: str, environment: Mapping[str, str] = os.environ) -> str | None:
    """The endpoint for an address; None leaves it to boto. Raises UserError if obs:// has none."""
    obs = address.startswith("obs://")
    order = (*MODELARTS_ENDPOINTS, *AWS_ENDPOINTS) if obs else (*AWS_ENDPOINTS, "S3_ENDPOINT")
    found = next((environment[name] for name in order if environment.get(name)), None)
    if found is None and obs:
        raise UserError(
            f"{key}={address}: the endpoint of OBS is not known; set OBS_ENDPOINT, such as "
            "https://obs.cn-north-4.myhuaweicloud.com."
        )
    return found if found is None or "://" in found else f"https://{found}"


class S3Store(Store):
    def __init__(self, address: str, key: str) -> None:
        super().__init__(key)
        self._scheme = address.partition("://")[0]
        self._endpoint = endpoint(address, key)
        self._files = s3fs.S3FileSystem(
            endpoint_url=self._endpoint,
            skip_instance_cache=True,
            use_listings_cache=False,
            config_kwargs={
                "connect_timeout": CONNECT,
                "read_timeout": READ,
                "max_pool_connections": 64,
                "retries": {"total_max_attempts": ATTEMPTS, "mode": "standard"},
                # Other stores than Amazon's reject the checksums that boto sends by default.
                "request_checksum_calculation": "when_required",
                "response_checksum_validation": "when_required",
            },
        )
        self._files.retries = 1

    def objects(self, address: str) -> list[Object]:
        bucket, path = split(address)
        prefix = f"{path}/" if path else ""
        with self._translated(address):
            found = [
                self._object(entry, bucket, entry["Key"].removeprefix(prefix))
                for page in self._pages(bucket, prefix)
                for entry in page.get("Contents", [])
                if not entry["Key"].endswith("/")  # consoles create these to show folders
            ]
            if not found and path:
                head = self._head(bucket, path)
                if head is not None:
                    entry = {"Key": path, "Size": head["ContentLength"], "ETag": head["ETag"]}
                    found = [self._object(entry, bucket, path.rpartition("/")[2])]
        if not found:
            raise NothingThere(f"{self.key}={address}: no objects found in the bucket {bucket} below {path or '/'}.")
        return sorted(found, key=lambda one: one.name)

    def folders(self, address: str) -> list[str]:
        bucket, path = split(address)
        prefix = f"{path}/" if path else ""
        with self._translated(address):
            pages = list(self._pages(bucket, prefix, Delimiter="/"))
        names = [entry["Prefix"] for page in pages for entry in page.get("CommonPrefixes", [])]
        return sorted(name.removeprefix(prefix).rstrip("/") for name in names)

    def _pages(self, bucket: str, prefix: str, **more: str) -> Iterator[dict[str, Any]]:
        while True:
            page = self._files.call_s3("list_objects_v2", Bucket=bucket, Prefix=prefix, **more)
            yield page
            if not page.get("IsTruncated"):
                return
            more["ContinuationToken"] = page["NextContinuationToken"]

    def _object(self, entry: Mapping[str, Any], bucket: str, name: str) -> Object:
        tag = entry["ETag"].strip('"')
        # The ETag of a multipart upload is not an MD5, and ends with the number of parts.
        md5 = tag.lower() if re.fullmatch(r"[0-9a-fA-F]{32}", tag) else None
        return Object(name, f"{self._scheme}://{bucket}/{entry['Key']}", entry["Size"], tag, md5)

    def _head(self, bucket: str, path: str) -> dict[str, Any] | None:
        try:
            return dict(self._files.call_s3("head_object", Bucket=bucket, Key=path))
        except FileNotFoundError:
            return None

    def fetch(self, found: Object, part: Path, told: Callable[[int], None], stopped: Callable[[], bool]) -> None:
        there = part.stat().st_size if part.exists() else 0
        if there > found.size:
            part.unlink()
            there = 0
        told(there)
        name = found.address.partition("://")[2]
        with self._translated(found.address):
            with open(part, "ab") as file:
                while there < found.size and not stopped():
                    # With limits; otherwise it would request the size first.
                    piece = self._files.cat_file(name, start=there, end=there + PIECE)
                    if not piece:
                        break
                    file.write(piece)
                    there += len(piece)
                    told(len(piece))
            if stopped():
                return
            if not self._is(found, part):
                part.unlink()
                told(-there)
                raise StoreError(
                    f"{self.key}: {found.address} differs from what the store lists ({found.size} bytes, ETag {found.tag}); it "
                    "may be changing now. Try again.",
                    exit_code=1,
                )

    def _is(self, found: Object, part: Path) -> bool:
        """Whether a file is the object: by size, and by MD5 if its ETag is one; otherwise if the ETag is unchanged."""
        if part.stat().st_size != found.size:
            return False
        if found.md5 is not None:
            digest = hashlib.md5()
            with open(part, "rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
            if digest.hexdigest() == found.md5:
                return True
        bucket, path = split(found.address)
        head = self._head(bucket, path)
        if head is None or head["ETag"].strip('"') != found.tag:
            return False
        # The ETag of an encrypted object may look like an MD5 without being one.
        return found.md5 is None or head.get("ServerSideEncryption") == "aws:kms" or "SSECustomerAlgorithm" in head

    def put(self, file: Path, address: str) -> None:
        with self._translated(address):
            self._files.put_file(str(file), address.partition("://")[2])

    def delete(self, addresses: Sequence[str]) -> None:
        for address in addresses:
            bucket, path = split(address)
            with self._translated(address):
                self._files.call_s3("delete_object", Bucket=bucket, Key=path)

    @contextmanager
    def _translated(self, address: str) -> Iterator[None]:
        """Turn errors of s3fs and boto into one sentence; errors of the local disk stay as they are."""
        try:
            yield
        except (OSError, ValueError, boto.BotoCoreError, boto.ClientError) as error:
            if isinstance(error, OSError) and (error.filename is not None or error.errno in DISK_FULL):
                raise
            raise self._said(error, address) from error

    def _said(self, error: Exception, address: str) -> UserError:
        where, bucket, code = f"{self.key}={address}", split(address)[0], _code(error)
        at = f" at {self._endpoint}" if self._endpoint else ""
        reason = _reason(error)
        if isinstance(error, boto.NoCredentialsError | boto.PartialCredentialsError | boto.ProfileNotFound):
            return StoreError(
                f"{where}: no keys for the store ({reason}). Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
                "AWS_PROFILE for a profile of ~/.aws."
            )
        if isinstance(error, PermissionError):
            return StoreError(f"{where}: the store{at} denies access ({reason}). Check the keys and their permissions.")
        if isinstance(error, FileNotFoundError):
            what = f"there is no bucket {bucket}" if code == "NoSuchBucket" else "it is not there"
            return NothingThere(f"{where}: {what}{at}.")
        if isinstance(error, AWAY):
            return Unreachable(f"{where}: the store{at} does not respond ({reason}).", exit_code=1)
        if code in BUSY:
            return Unreachable(f"{where}: the store{at} responds with {reason}.", exit_code=1)
        return StoreError(f"{where}: {reason}.", exit_code=1)


def _code(error: BaseException) -> str | None:
    """The store's own code for an error that s3fs has translated."""
    cause = error.__cause__
    return str(cause.response["Error"].get("Code")) if isinstance(cause, boto.ClientError) else None


def _reason(error: BaseException) -> str:
    line = " ".join(str(error).split()) or type(error).__name__
    return re.sub(r":? ?[\"']?https?://\S+", "", line).strip().rstrip(".")  # the message already names the endpoint
