# The command line on an NVIDIA GPU. The wheel of torch for Linux brings CUDA along, so the image
# needs no CUDA of its own: the host has the driver and NVIDIA's container toolkit. It was built on
# Debian 12 with its Python 3.11 in the place of the image that FROM names (6.1 GB), and erased from
# the embedded checkpoint on a CPU; nothing was run in it on a GPU. /data in it is where the host's
# folder is mounted, with the cache in it; `--user` makes what is written there yours.
#
#     docker build --tag erasure .
#     docker run --rm --gpus all --user "$(id -u):$(id -g)" --volume "$PWD:/data" erasure \
#       erase MODEL --concept church --device cuda --out out/church
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 erasure
COPY --chown=erasure . /tmp/source
RUN pip install --no-cache-dir "/tmp/source[metrics,imagenet,data]" && rm -rf /tmp/source

USER erasure
WORKDIR /data
ENV HF_HOME=/data/.cache/huggingface XDG_CACHE_HOME=/data/.cache
ENTRYPOINT ["erasure"]
CMD ["--help"]
