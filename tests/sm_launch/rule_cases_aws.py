"""The same for rules of disks, buckets, file systems and serving; and all cases together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import launch_plans as lp
from rule_cases import STORE, TRAIN, TRAINING_ADVICE, TRAINING_CASES, A, Case, machine, one, some

from sm_launch.steps import Copy, Source, Upload


def channel_on(directory: str) -> Callable:
    source = {
        "FileSystemId": "fs-0123456789abcdef0",
        "FileSystemType": "FSxLustre",
        "FileSystemAccessMode": "ro",
        "DirectoryPath": directory,
    }
    return lp.put("InputDataConfig.1.DataSource", {"FileSystemDataSource": source})


def serverless(memory: int) -> Callable:
    return lp.put(
        "ProductionVariants.0",
        {"VariantName": "main", "ModelName": "m", "ServerlessConfig": {"MemorySizeInMB": memory, "MaxConcurrency": 2}},
    )


LUSTRE, CONFIG, BATCH = lp.file_system(), lp.endpoint_config(), lp.transform()
NO_ASYNC = lp.put("AsyncInferenceConfig", None)

CASES = (
    *TRAINING_CASES,
    Case(
        "volume-key",
        one(TRAIN, lp.put("ResourceConfig.InstanceType", "ml.g5.2xlarge")),
        A + "ResourceConfig.VolumeKmsKeyId is given, and AWS refuses it on ml.g5.2xlarge, whose local NVMe disks are "
        "encrypted by hardware; remove the key.",
    ),
    Case(
        "volume-key",
        one(BATCH, lp.put("TransformResources.InstanceType", "ml.g4dn.xlarge")),
        "demo-1a2b-batch: TransformResources.VolumeKmsKeyId is given, and AWS refuses it on ml.g4dn.xlarge, whose "
        "local NVMe disks are encrypted by hardware; remove the key.",
    ),
    Case(
        "local-disk-size",
        one(TRAIN, machine("ml.g4dn.xlarge"), lp.put("ResourceConfig.VolumeSizeInGB", 500)),
        A
        + "ResourceConfig.VolumeSizeInGB is 500, and ml.g4dn.xlarge has its 125 GB of local NVMe and takes no volume; "
        "lower it or take a larger size.",
    ),
    Case(
        "processing-paths",
        one(STORE, lp.put("ProcessingInputs.1.S3Input.LocalPath", "/data")),
        "demo-1a2b-store: ProcessingInputs[1].S3Input.LocalPath is '/data', and AWS takes a folder under "
        "/opt/ml/processing/; move it there.",
    ),
    Case(
        "unique-names",
        lambda: lp.plan(TRAIN, TRAIN),
        A + "the plan makes 2 things of kind training-job with this name; rename one.",
    ),
    Case(
        "own-tags",
        one(TRAIN, lp.put("Tags", [{"Key": "aws:team", "Value": "aws:fine"}])),
        A + "has the tag 'aws:team', and AWS keeps names that begin with aws: for itself; rename it.",
    ),
    Case(
        "bucket-name",
        lambda: replace(lp.plan(), bucket="My_Bucket"),
        "Bucket 'My_Bucket' is no name to use: S3 takes 3 to 63 lower-case letters, digits and hyphens, and a dot "
        "breaks TLS; rename it.",
    ),
    Case(
        "bucket-region",
        lambda: replace(lp.plan(lp.bucket()[0]), region="eu-west-1"),
        "demo-bucket: CreateBucketConfiguration.LocationConstraint is absent, and a bucket for jobs in eu-west-1 takes "
        "eu-west-1; change it.",
    ),
    Case(
        "arn-region",
        one(TRAIN, lp.put("OutputDataConfig.KmsKeyId", lp.KEY.replace("us-east-1", "us-west-2"))),
        A + "OutputDataConfig.KmsKeyId names a kms resource of us-west-2, and jobs in us-east-1 use those of their own "
        "region; give one there.",
    ),
    Case(
        "file-system-size",
        one(LUSTRE, some(StorageCapacity=3000)),
        "demo-1a2b-lustre: StorageCapacity is 3000, and FSx for Lustre takes 1200, 2400 or a multiple of 2400 GiB; "
        "take 4800.",
    ),
    Case(
        "file-system-throughput",
        one(LUSTRE, lp.put("LustreConfiguration.PerUnitStorageThroughput", 200)),
        "demo-1a2b-lustre: LustreConfiguration.PerUnitStorageThroughput is 200, and PERSISTENT_2 takes 125, 250, 500, "
        "1000 MB/s per TiB; choose one.",
    ),
    Case(
        "file-system-throughput",
        one(LUSTRE, lp.put("LustreConfiguration.DeploymentType", "SCRATCH_2")),
        "demo-1a2b-lustre: LustreConfiguration.PerUnitStorageThroughput is 125, and SCRATCH_2 has a fixed throughput "
        "of 200 MB/s per TiB; remove it.",
    ),
    Case(
        "file-system-import",
        one(LUSTRE, lp.put("LustreConfiguration.ImportPath", f"{lp.ROOT}/data/")),
        "demo-1a2b-lustre: LustreConfiguration.ImportPath is given for PERSISTENT_2, which takes a data repository "
        "association instead; remove it and associate s3://demo-bucket/demo-1a2b/data/.",
    ),
    Case(
        "file-system-import",
        lambda: lp.plan(
            lp.changed(
                LUSTRE, some(LustreConfiguration={"DeploymentType": "SCRATCH_2", "ImportPath": f"{lp.ROOT}/data/"})
            ),
            lp.association(),
        ),
        "demo-1a2b-lustre: LustreConfiguration.ImportPath is given and the plan makes a data repository association as "
        "well, and FSx takes one or the other; remove one.",
    ),
    Case(
        "file-system-import",
        one(LUSTRE, some(LustreConfiguration={"DeploymentType": "SCRATCH_1"})),
        "demo-1a2b-lustre: LustreConfiguration.DeploymentType is SCRATCH_1, and jobs are served by SCRATCH_2 or "
        "PERSISTENT_2; choose one.",
    ),
    Case(
        "file-system-subnet",
        one(LUSTRE, some(SubnetIds=["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"])),
        "demo-1a2b-lustre: SubnetIds has 2 entries, and FSx for Lustre takes one; name the jobs'.",
    ),
    Case(
        "file-system-directory",
        one(TRAIN, channel_on("/mnt/fsx/data")),
        A + "InputDataConfig[1].DataSource.FileSystemDataSource.DirectoryPath is '/mnt/fsx/data', and SageMaker takes "
        "/MOUNT_NAME/FOLDER with the file system's own mount name; see MountName in its description.",
    ),
    Case(
        "file-system-access",
        one(TRAIN, channel_on("/abcd1234/data"), lp.put("VpcConfig", None)),
        A + "VpcConfig is absent, and a file system is reached only from inside its VPC; give the subnet and the "
        "security group.",
    ),
    Case(
        "file-system-processing",
        one(STORE, lambda request: request["ProcessingInputs"][1].update(FileSystemDataSource={})),
        "demo-1a2b-store: ProcessingInputs[1] is a file system, and processing jobs read S3 only; give the S3 prefix "
        "that it was loaded from.",
    ),
    Case(
        "variant-machines",
        one(CONFIG, lp.put("ProductionVariants.0.InstanceType", None)),
        "demo-1a2b-config: ProductionVariants[0] has no machines, and AWS takes either InstanceType or "
        "ServerlessConfig; give one.",
    ),
    Case(
        "serverless-memory",
        one(CONFIG, serverless(8192), NO_ASYNC),
        "demo-1a2b-config: ProductionVariants[0].ServerlessConfig.MemorySizeInMB is 8192, and AWS takes 1024 to 6144 "
        "in steps of 1024; a volume that needs more goes to an async endpoint.",
    ),
    Case(
        "serverless-limits",
        one(CONFIG, serverless(4096)),
        "demo-1a2b-config: ProductionVariants[0] is serverless and the endpoint has AsyncInferenceConfig, which "
        "serverless inference doesn't offer; remove it or take an instance type.",
    ),
    Case(
        "scale-to-zero",
        lambda: lp.plan(lp.changed(CONFIG, NO_ASYNC), *lp.scaling()),
        "demo-1a2b-scaling: MinCapacity is 0, and only an async endpoint scales to zero; set it to 1 or deploy an "
        "async endpoint.",
    ),
    Case(
        "transform-payload",
        one(BATCH, some(MaxConcurrentTransforms=4)),
        "demo-1a2b-batch: MaxPayloadInMB 50 x MaxConcurrentTransforms 4 is 200, and AWS takes 100 MB at most; lower "
        "one of them.",
    ),
)

FILES = tuple(Source(f"imagesTr/case_{number}.nii.gz", 1, 0) for number in range(1, 5))
ADVICE_CASES = (
    *TRAINING_ADVICE,
    Case(
        "hardware-encrypts",
        lambda: replace(one(TRAIN, machine("ml.g5.2xlarge"))(), kms_key="alias/brats"),
        "demo-1a2b-train: the disks of ml.g5.2xlarge are encrypted by hardware and take no KMS key; uploads and "
        "outputs have yours.",
    ),
    Case(
        "file-names",
        lambda: replace(lp.plan(TRAIN, profile="phi"), copies=(Copy(Path("Task01"), "", FILES),)),
        "Folder Task01: the names of its 4 files go to S3 keys and to logs outside the encrypted data, such as "
        "imagesTr/case_1.nii.gz, imagesTr/case_3.nii.gz, imagesTr/case_4.nii.gz; a person's name in one is not "
        "recognized, so look at them.",
    ),
    Case(
        "bundle-tables",
        lambda: lp.plan(TRAIN, profile="phi", uploads=(Upload("", 1, "", Path("bundle/cases.csv")),)),
        "bundle/cases.csv: travels with the code and in the model's artifact, and is not looked into; take it out of "
        "the bundle if it lists patients.",
    ),
    Case(
        "realtime-limits",
        one(CONFIG, NO_ASYNC),
        "demo-1a2b-config: ProductionVariants[0] is real-time: a request takes 25 MB and 60 s at most, and the "
        "machines bill while idle; async takes 1 GB and scales to zero.",
    ),
    Case(
        "scale-from-zero",
        lambda: lp.plan(CONFIG, *lp.scaling()),
        "demo-1a2b-scaling: MinCapacity is 0 and no policy listens to HasBacklogWithoutCapacity, so a few requests may "
        "wait until the backlog metric's target is passed; add a step scaling policy on it.",
    ),
    Case(
        "transform-payload-default",
        one(BATCH, lp.put("MaxPayloadInMB", None)),
        "demo-1a2b-batch: MaxPayloadInMB is absent, and AWS then refuses a case above 6 MB; a four-modality volume has "
        "about 10.",
    ),
)
