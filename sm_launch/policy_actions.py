"""What else is done, through its life, with what each call of a plan makes: actions of the caller's policy."""

from __future__ import annotations

from collections.abc import Mapping

from sm_launch.views import CREATE_TRANSFORM, CREATE_TUNING

# By call: the resource's kind in its ARN, and what else is done with the thing, in the order of its life.
JOBS: Mapping[str, tuple[str, str]] = {
    "CreateTrainingJob": ("training-job", "DescribeTrainingJob StopTrainingJob"),
    "CreateProcessingJob": ("processing-job", "DescribeProcessingJob StopProcessingJob"),
    CREATE_TUNING: (
        "hyper-parameter-tuning-job",
        "DescribeHyperParameterTuningJob ListTrainingJobsForHyperParameterTuningJob StopHyperParameterTuningJob",
    ),
    "CreateModel": ("model", "DescribeModel DeleteModel"),
    "CreateEndpointConfig": ("endpoint-config", "DescribeEndpointConfig DeleteEndpointConfig"),
    "CreateEndpoint": ("endpoint", "DescribeEndpoint DeleteEndpoint InvokeEndpoint InvokeEndpointAsync"),
    CREATE_TRANSFORM: ("transform-job", "DescribeTransformJob StopTransformJob"),
}
# A setting is read before it is set, so that one of the bucket's owner is kept.
BUCKET_CALLS: Mapping[str, str] = {
    "CreateBucket": "CreateBucket",
    "PutPublicAccessBlock": "PutBucketPublicAccessBlock",
    "PutBucketEncryption": "PutEncryptionConfiguration",
    "PutBucketPolicy": "GetBucketPolicy PutBucketPolicy",
    "PutBucketVersioning": "GetBucketVersioning PutBucketVersioning",
    "PutBucketLifecycleConfiguration": "GetLifecycleConfiguration PutLifecycleConfiguration",
    "PutBucketOwnershipControls": "PutBucketOwnershipControls",
    "PutBucketTagging": "PutBucketTagging",
}
