"""The bank with a robot, in asyncio. Prints its port, and ends when it is killed."""

import asyncio


async def serve(reader, writer):
    line = await reader.readline()
    await asyncio.sleep(0.05)
    writer.write(line)
    writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=128)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


asyncio.run(main())
