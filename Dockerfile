# The command line on an NVIDIA GPU. The wheel of torch for Linux brings CUDA along, so the image
# needs no CUDA of its own: the host has the driver and NVIDIA's container toolkit. The image was not
# built yet, nor was anything run on a GPU; /data in it is where the host's folder is mounted.
#
#     docker build --tag erasure .
#     docker run --rm --gpus all --volume "$PWD:/data" erasure \
#       erase MODEL --concept church --device cuda --out out/church
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 erasure
COPY --chown=erasure . /tmp/source
RUN pip install --no-cache-dir "/tmp/source[metrics,imagenet,data]" && rm -rf /tmp/source

USER erasure
WORKDIR /data
ENV HF_HOME=/data/.cache/huggingface
ENTRYPOINT ["erasure"]
CMD ["--help"]
